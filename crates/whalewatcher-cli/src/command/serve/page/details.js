// The details of one container, and lines about changes.

import { engineName, portsOf, STATES, stateOf } from "./picture.js";
import { setState, setText } from "./list.js";

// The symbols of changes that have none of their own.
const SYMBOLS = { unpaused: "running", started: "running", crash_loop: "failed", disconnected: "failed", synced: "running" };
const KNOWN = new Set(["running", "paused", "exited", "failed"]);

// Returns a line about a change.
export function lineOf({ key, kind, time, name, detail }) {
  const line = document.getElementById("change").content.firstElementChild.cloneNode(true);
  const at = new Date(time);
  const [when, , what] = line.children;
  when.dateTime = time;
  setText(when, at.toLocaleTimeString("en-GB"));
  when.title = at.toLocaleString("en-GB");
  setState(line, SYMBOLS[kind] ?? (KNOWN.has(kind) ? kind : "changed"));
  setText(what.firstElementChild, name);
  setText(what.lastElementChild, detail);
  if (key) {
    line.dataset.key = key;
  }
  return line;
}

// Shows a container in the panel, or as it was last known if it has exited, with its last changes.
export function showDetails(panel, { entry, hasExited, lost, changes }) {
  const { container, engine } = entry;
  const [facts, labels] = panel.querySelectorAll("dl");
  const date = (text) => text && new Date(text).toLocaleString("en-GB");
  const network = ({ name, ipv4, ipv6 }) => [name, ipv4, ipv6].filter(Boolean).join("  ");
  const at = ({ address, public: port }) => (address && port ? `${address.includes(":") ? `[${address}]` : address}:` : "");
  const { health, pod, image, pid, host_pid } = container;
  setText(panel.querySelector("h2"), container.name);
  fill(facts, {
    State: hasExited ? "exited" : STATES[stateOf(entry, lost)],
    Health: health,
    Image: image?.name,
    "Image ID": image?.id,
    ID: container.id,
    Project: container.project,
    Pod: pod && `${pod.namespace}/${pod.name}${pod.sandbox ? " (sandbox)" : ""}`,
    Engine: `${engineName(engine)}\n${engine.version}`.trim(),
    PID: host_pid ? `${pid}, on the host ${host_pid}` : pid && String(pid),
    Created: date(container.created_at),
    Started: date(container.started_at),
    Restarts: container.restart_count && String(container.restart_count),
    Memory: container.oom_killed && "a process was out of memory",
    Networks: container.networks?.map(network).join("\n"),
    Ports: [...new Set((container.ports ?? []).map((port) => at(port) + portsOf({ ports: [port] })[0]))].join("\n"),
  });
  fill(labels, container.labels);
  labels.previousElementSibling.hidden = Object.keys(container.labels).length === 0;
  const list = panel.querySelector("ol");
  list.replaceChildren(...changes.map(lineOf));
  list.previousElementSibling.hidden = changes.length === 0;
}

function fill(list, facts) {
  const items = Object.entries(facts).filter(([, value]) => value !== undefined && value !== "" && value !== 0 && value !== false && value !== null);
  list.replaceChildren(...items.flatMap(([name, value]) => [item("dt", name), item("dd", value)]));
}

function item(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
