// The live picture: what the server's events add up to.

import { lineOf, showDetails } from "./details.js";
import { List, setText } from "./list.js";
import { engineKey, engineName, picture } from "./picture.js";
import { follow, request } from "./stream.js";

// How many changes are kept, and shown.
const MOST_KEPT = 1_000;
const MOST_SHOWN = 100;

const get = (id) => document.getElementById(id);
const [filter, details, changesList] = [get("filter"), get("details"), get("changes-list")];
const list = new List(get("list"));
const { alive, apply } = picture();

// The newest changes, those that are not shown yet, and the keys of what has changed since the last frame; `null` for all.
let kept = [];
let fresh = [];
let dirty = new Set();
// The engines whose containers are as last known, and how many there are.
let lost = new Set();
let engines = 0;
// How much later it is for the server than here.
let ahead = 0;
// What the details are of.
let open;
let isConnected = false;

// What has changed is shown with the next frame: a hidden page shows nothing, and catches up.
let isDue = false;
function show() {
  if (!isDue) {
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  }
}

function draw() {
  const keys = dirty;
  dirty = new Set();
  list.update(alive, keys, lost);
  if (fresh.length > 0) {
    changesList.prepend(...fresh.slice(-MOST_SHOWN).reverse().map(lineOf));
    [...changesList.children].slice(MOST_SHOWN).forEach((line) => line.remove());
  }
  if (open && (keys === null || keys.has(open.key) || fresh.some((change) => change.key === open.key))) {
    drawDetails();
  }
  fresh = [];
  drawCounts();
}

function drawCounts() {
  const [shown, total] = [list.shown, list.total];
  const number = shown === total ? `${total}` : `${shown} of ${total}`;
  setText(get("counts"), `${number} container${total === 1 ? "" : "s"} · ${engines} engine${engines === 1 ? "" : "s"}`);
  document.title = `${total} · whalewatcher`;
  const nothing = get("nothing");
  nothing.hidden = shown > 0 || !isConnected;
  setText(nothing, total > 0 ? "No container matches the filter." : emptiness());
}

// That nothing is alive is said only if that is known.
function emptiness() {
  return engines > 0 && get("problems").hidden ? "No container is alive." : "No container is known.";
}

function drawDetails() {
  const now = alive.get(open.key);
  open.entry = now ?? open.entry;
  const changes = kept.filter((change) => change.key === open.key).reverse();
  showDetails(details, { entry: open.entry, hasExited: !now, lost, changes });
  details.hidden = false;
}

function openDetails(key) {
  const entry = alive.get(key);
  if (entry) {
    open = { key, entry };
    drawDetails();
    details.scrollTop = 0;
    // Where they cover everything.
    getComputedStyle(details).position === "fixed" && get("details-name").focus();
  }
}

function closeDetails() {
  open = undefined;
  details.hidden = true;
  list.focus();
}

// The engines, and why they cannot be reached. They are asked for once more if something happened meanwhile.
let asking;
let isAskedAgain = false;
function askEngines() {
  isAskedAgain = asking !== undefined;
  asking ??= request("/v1/engines")
    .then((answer) => (answer.ok ? answer.json() : []))
    .then(drawEngines, () => {})
    .finally(() => {
      asking = undefined;
      isAskedAgain && askEngines();
    });
}

function drawEngines(all) {
  const watched = all.filter((engine) => engine.type);
  const before = [...lost].sort().join();
  lost = new Set(watched.filter((engine) => engine.phase !== "live").map(engineKey));
  engines = watched.length;
  get("list").dataset.engines = String(Math.min(engines, 2));
  const texts = all.flatMap((engine) => {
    const name = engine.place ?? engineName(engine);
    const problems = engine.problems.length > 0 || engine.phase === "live" ? engine.problems : [`${engine.phase} …`];
    return problems.map((problem) => [name, engine.remedy ? `${problem}; ${engine.remedy}` : problem]);
  });
  const items = texts.map(([name, reason]) => {
    const [item, title, text] = ["li", "b", "span"].map((tag) => document.createElement(tag));
    title.textContent = `${name} `;
    text.textContent = reason;
    item.append(title, text);
    return item;
  });
  get("problems").firstElementChild.replaceChildren(...items);
  get("problems").hidden = items.length === 0;
  if ([...lost].sort().join() !== before) {
    dirty = null;
  }
  show();
}

const ABOUT_ENGINES = new Set(["snapshot", "joined", "left", "synced", "disconnected"]);

function onEvent(name, event) {
  const changes = apply(name, event);
  if (name === "snapshot") {
    dirty = null;
  }
  for (const change of changes) {
    dirty?.add(change.key).add(change.former);
    if (open && open.key === change.former) {
      open.key = change.key;
    }
  }
  kept.push(...changes);
  fresh.push(...changes);
  kept.length > 2 * MOST_KEPT && (kept = kept.slice(-MOST_KEPT));
  fresh.length > 2 * MOST_SHOWN && (fresh = fresh.slice(-MOST_SHOWN));
  ABOUT_ENGINES.has(name) && askEngines();
  show();
}

function onState(state, reason, date) {
  isConnected = state === "live";
  get("connection").dataset.state = state;
  setText(get("connection"), isConnected ? "live" : `reconnecting: ${reason}`);
  document.body.classList.toggle("lost", !isConnected);
  if (date) {
    ahead = Date.parse(date) - Date.now();
    askEngines();
  }
  show();
}

// Asks for a token.
function askToken(reason) {
  const dialog = get("token");
  const input = dialog.querySelector("input");
  setText(get("token-reason"), sessionStorage.getItem("whalewatcher-token") ? reason : "");
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(input.value.trim()), { once: true });
  });
}

get("token").addEventListener("cancel", (event) => event.preventDefault());

// Filter and grouping are in the address, so that they are there after a reload.
const chosen = new URLSearchParams(location.hash.slice(1));

function choose(name, value) {
  value ? chosen.set(name, value) : chosen.delete(name);
  history.replaceState(null, "", `#${chosen}`);
}

filter.addEventListener("input", () => {
  choose("filter", filter.value);
  list.filter(filter.value);
  drawCounts();
});

get("grouping").addEventListener("change", ({ target }) => {
  choose("group", target.value);
  list.group(target.value);
});

filter.value = chosen.get("filter") ?? "";
list.filter(filter.value);
const grouping = get("grouping").querySelector(`[value="${CSS.escape(chosen.get("group") ?? "")}"]`);
if (grouping) {
  grouping.checked = true;
  list.group(grouping.value);
}

get("list").addEventListener("click", ({ target }) => {
  const key = target.closest(".container")?.dataset.key;
  if (key) {
    list.select(key);
    list.focus();
    openDetails(key);
  }
});

document.querySelector("aside").addEventListener("click", ({ target }) => {
  const key = target.closest("#changes-list [data-key]")?.dataset.key;
  if (key && alive.has(key)) {
    list.select(key);
    openDetails(key);
  }
});

details.querySelector("button").addEventListener("click", closeDetails);

get("changes-title").firstElementChild.addEventListener("click", ({ target }) => {
  target.setAttribute("aria-expanded", String(target.getAttribute("aria-expanded") !== "true"));
});

// How far each key moves.
const MOVES = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || get("token").open) {
    return;
  }
  if (key === "Escape") {
    if (open) {
      closeDetails();
    } else if (target === filter && filter.value) {
      filter.value = "";
      filter.dispatchEvent(new Event("input"));
    } else {
      target.blur();
    }
    return;
  }
  if (target === filter) {
    // To the first one that is left.
    if (key === "Enter" || key === "ArrowDown") {
      event.preventDefault();
      list.select();
      list.move(1);
    }
    return;
  }
  if (target.matches("input")) {
    return;
  }
  if (key === "/") {
    event.preventDefault();
    filter.select();
  } else if (key in MOVES) {
    event.preventDefault();
    list.move(MOVES[key]);
    open && openDetails(list.selected);
  } else if (key === "Enter" && target.matches(".container")) {
    list.select(target.dataset.key);
    openDetails(target.dataset.key);
  }
});

setInterval(() => list.refreshAges(Date.now() + ahead), 5_000);
follow("/v1/events", { event: onEvent, state: onState, token: askToken });
