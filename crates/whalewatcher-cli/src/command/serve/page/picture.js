// What is alive, as the events add up to it. A container is found by a key that is unique among all engines.

const ENGINES = { "docker.com": "Docker", "podman.io": "podman", "containerd.io": "containerd", "k8s.io/cri-api": "CRI" };

export const engineKey = (engine) => JSON.stringify([engine.host?.id, engine.type, engine.api]);

const keyOf = (engine, id) => `${engineKey(engine)} ${id}`;

// Where an engine is if nothing else is said.
const USUAL = /^(\/var)?\/run\/(docker|podman\/podman|containerd\/containerd|crio\/crio)\.sock$/;

// The name of an engine for people.
export function engineName(engine) {
  const place = placeOf(engine);
  return engine.host ? `${engine.host.name} · ${typeOf(engine)}` : `${typeOf(engine)} ${place}`;
}

// A name that distinguishes an engine from those of other types, and from others of its type if it is in an unusual place.
export function shortName(engine) {
  return engine.host || !USUAL.test(placeOf(engine)) ? engineName(engine) : typeOf(engine);
}

const typeOf = (engine) => ENGINES[engine.type] ?? engine.type;

const placeOf = (engine) => engine.api.replace(/^(unix|podman|containerd|cri):\/\//, "");

// Returns a map of what is alive, and a function that applies an event to it and returns the changes:
// `{ key, former, kind, time, name, detail }`, with the key that a container had before if it has another one.
export function picture() {
  const alive = new Map();

  const put = (engine, container) => {
    const key = keyOf(engine, container.id);
    alive.set(key, { key, engine, container });
    return key;
  };

  // A new snapshot: what differs happened meanwhile.
  const replace = (containers, isFirst) => {
    const before = new Map(alive);
    const changes = [];
    const time = new Date().toISOString();
    alive.clear();
    for (const { engine, ...container } of containers) {
      const key = put(engine, container);
      const known = before.get(key);
      if (!isFirst && !(known && isSameLife(known.container, container))) {
        changes.push({ key, kind: "started", time, name: container.name, detail: "started meanwhile" });
      }
      before.delete(key);
    }
    for (const { key, container } of before.values()) {
      changes.push({ key, kind: "exited", time, name: container.name, detail: "exited meanwhile" });
    }
    return changes;
  };

  let isFirst = true;
  const apply = (name, event) => {
    if (name === "snapshot") {
      const changes = replace(event.containers, isFirst);
      isFirst = false;
      return changes;
    }
    const { engine, container, time } = event;
    if (!container) {
      return [{ kind: name, time, name: about(event), detail: withoutContainer(name, event) }];
    }
    const former = name === "moved" && keyOf({ ...event.from, host: engine.host }, event.from.container);
    alive.delete(former);
    const key = name === "exited" ? keyOf(engine, container.id) : put(engine, container);
    if (name === "exited") {
      alive.delete(key);
    }
    const kind = name === "exited" && event.exit_code ? "failed" : name;
    return [{ key, former, kind, time, name: container.name, detail: detail(name, event) }];
  };
  return { alive, apply };
}

const isSameLife = (one, other) => one.pid === other.pid && one.started_at === other.started_at;

// What an event without a container is about.
const about = (event) => event.crash_loop?.name ?? engineName(event.engine);

function withoutContainer(name, event) {
  switch (name) {
    case "crash_loop":
      return event.crash_loop.over ? "no longer restarts again and again" : `restarts again and again: ${event.crash_loop.lives} lives`;
    case "disconnected":
      return `cannot be reached: ${event.error}`;
    case "lagged":
      return `${event.missed} events were skipped`;
    case "synced":
      return "is in sync";
    case "joined":
      return "is watched";
    case "left":
      return "is no longer watched";
    default:
      return name;
  }
}

function detail(name, { container, exit_code, seen_by, was, from, time }) {
  switch (name) {
    case "started":
      return Date.parse(time) - Date.parse(container.started_at) > 5_000 ? "found running" : "started";
    case "exited": {
      const code = exit_code === undefined ? "exited" : `exited with ${exit_code}`;
      return container.oom_killed ? `${code}, out of memory` : seen_by ? `${code}, seen by the ${seen_by}` : code;
    }
    case "unpaused":
      return "resumed";
    case "moved":
      return `moved from ${engineName(from)}`;
    case "updated":
      return Object.entries(was).map(([field, before]) => update(field, before, container)).join(", ");
    default:
      return name;
  }
}

function update(field, before, now) {
  switch (field) {
    case "name":
      return `renamed, was ${before}`;
    case "health":
      return now.health ? `is ${now.health}` : "has no healthcheck";
    case "oom_killed":
      return "a process was out of memory";
    case "restart_count":
      return `restart ${now.restart_count}`;
    default:
      return `${field.replaceAll("_", " ")} changed`;
  }
}

// The state of a container in a word, by which it is shown.
export function stateOf({ container, engine }, lost) {
  if (lost.has(engineKey(engine))) {
    return "stale";
  }
  if (container.paused) {
    return "paused";
  }
  return container.health === "unhealthy" || container.health === "starting" ? container.health : "running";
}

export const STATES = { stale: "last known", unhealthy: "unhealthy", starting: "starting", paused: "paused", running: "running" };

// The published ports of a container, or those that it exposes.
export function portsOf(container) {
  const ports = container.ports ?? [];
  const suffix = (port) => (port.protocol === "tcp" ? "" : `/${port.protocol}`);
  const text = (port) => (port.public ? `${port.public}→${port.private}` : `${port.private}`) + suffix(port);
  return [...new Set(ports.map(text))];
}

// Everything that a filter is compared with.
export function textOf({ container, engine }) {
  const { name, id, image, project, pod, labels } = container;
  const parts = [name, id, image?.name, project, pod?.namespace, pod?.name, engineName(engine)];
  return [...parts, ...Object.entries(labels).map(([key, value]) => `${key}=${value}`)].join("\n").toLowerCase();
}
