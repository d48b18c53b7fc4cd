// The list of containers, in groups. Only the rows of what has changed are touched.

import { engineName, portsOf, shortName, STATES, stateOf, textOf } from "./picture.js";

const UNITS = [["d", 86_400], ["h", 3_600], ["m", 60]];

// The time since then, in its largest unit.
export function age(then, now) {
  if (!then) {
    return "";
  }
  const seconds = Math.max(0, Math.floor((now - Date.parse(then)) / 1000));
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? ["s", 1];
  return `${Math.floor(seconds / length)}${unit}`;
}

const GROUPINGS = {
  project: ({ container }) => container.project || "No project",
  engine: ({ engine }) => engineName(engine),
  pod: ({ container: { pod } }) => (pod ? `${pod.namespace}/${pod.name}` : "No pod"),
};

const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// What every text is set with: what is equal stays as it is.
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

export function setState(element, state) {
  if (element.dataset.state !== state) {
    element.dataset.state = state;
    element.querySelector("use").setAttribute("href", `#${state}`);
  }
}

const byText = new Intl.Collator("en", { numeric: true });

// Inserts an element before the first one that comes after it.
function insert(parent, element, comes) {
  const all = parent.children;
  let [from, to] = [1, all.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    comes(all[middle], element) <= 0 ? (from = middle + 1) : (to = middle);
  }
  parent.insertBefore(element, all[from] ?? null);
}

export class List {
  #element;
  #rows = new Map();
  #groups = new Map();
  #grouping = "project";
  #words = [];
  #shown = 0;
  #selected;

  constructor(element) {
    this.#element = element;
  }

  get shown() {
    return this.#shown;
  }

  get total() {
    return this.#rows.size;
  }

  get selected() {
    return this.#selected?.key;
  }

  // Shows these entries of what is alive: those that have these keys, or all.
  update(alive, keys, lost) {
    const changed = keys ?? new Set([...this.#rows.keys(), ...alive.keys()]);
    for (const key of changed) {
      const entry = alive.get(key);
      entry ? this.#put(entry, lost) : this.#remove(key);
    }
    this.#count();
  }

  group(grouping) {
    this.#grouping = grouping;
    this.#element.dataset.group = grouping;
    for (const row of this.#rows.values()) {
      this.#place(row);
    }
    this.#count();
  }

  filter(text) {
    this.#words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.#rows.forEach((row) => this.#match(row));
    this.#count();
  }

  refreshAges(now) {
    for (const { element, entry } of this.#rows.values()) {
      setText(element.lastElementChild, age(entry.container.started_at, now));
    }
  }

  // Selects a container's row, or none.
  select(key) {
    const row = this.#rows.get(key);
    if (row === this.#selected) {
      return;
    }
    this.#selected?.element.setAttribute("aria-selected", "false");
    this.#selected && (this.#selected.element.tabIndex = -1);
    this.#selected = row;
    if (row) {
      row.element.setAttribute("aria-selected", "true");
      row.element.tabIndex = 0;
    }
  }

  focus() {
    const { element } = this.#selected ?? {};
    element?.scrollIntoView({ block: "nearest" });
    element?.focus({ preventScroll: true });
  }

  // Selects the row so many further, and focuses it.
  move(by) {
    const visible = [...this.#element.querySelectorAll(".container:not([hidden])")];
    if (visible.length > 0) {
      const at = visible.indexOf(this.#selected?.element);
      const to = at < 0 ? (by < 0 ? visible.length - 1 : 0) : Math.min(Math.max(at + by, 0), visible.length - 1);
      this.select(visible[to].dataset.key);
      this.focus();
    }
  }

  #put(entry, lost) {
    const known = this.#rows.get(entry.key);
    const row = known ?? { key: entry.key, element: clone("row") };
    const { container } = entry;
    row.entry = entry;
    row.text = textOf(entry);
    const [state, name, image, place, ports, up] = row.element.children;
    const word = stateOf(entry, lost);
    setState(row.element, word);
    setText(state.lastElementChild, STATES[word]);
    setText(image, container.image?.name ?? "");
    setText(ports, portsOf(container).join(" "));
    setText(up, age(container.started_at, Date.now()));
    const places = [container.project, container.pod ? GROUPINGS.pod(entry) : "", shortName(entry.engine)];
    places.forEach((text, nth) => setText(place.children[nth], text));
    for (const cell of [name, image, place, ports]) {
      cell.title = cell.textContent;
    }
    if (!known) {
      row.element.dataset.key = entry.key;
      this.#rows.set(entry.key, row);
    }
    if (name.textContent !== container.name || row.group !== GROUPINGS[this.#grouping](entry)) {
      setText(name, container.name);
      name.title = container.name;
      this.#place(row);
    }
    this.#match(row);
  }

  // Puts a row where it belongs by its group and name. What is focused stays so.
  #place(row) {
    const isFocused = document.activeElement === row.element;
    this.#leave(row);
    row.group = GROUPINGS[this.#grouping](row.entry);
    const group = this.#groups.get(row.group) ?? this.#addGroup(row.group);
    group.size += 1;
    const text = (element) => element.children[1].textContent;
    insert(group.element, row.element, (one, other) =>
      byText.compare(text(one), text(other)) || byText.compare(one.dataset.key, other.dataset.key));
    isFocused && row.element.focus({ preventScroll: true });
  }

  #addGroup(name) {
    const group = { element: clone("group"), size: 0 };
    group.element.setAttribute("aria-label", name);
    setText(group.element.querySelector("[role=rowheader]"), name);
    this.#groups.set(name, group);
    const isLast = (element) => element.getAttribute("aria-label").startsWith("No ");
    insert(this.#element, group.element, (one, other) =>
      isLast(one) - isLast(other) || byText.compare(one.getAttribute("aria-label"), other.getAttribute("aria-label")));
    return group;
  }

  #leave(row) {
    const group = this.#groups.get(row.group);
    row.element.remove();
    if (group && --group.size === 0) {
      group.element.remove();
      this.#groups.delete(row.group);
    }
    row.group = undefined;
  }

  #remove(key) {
    const row = this.#rows.get(key);
    if (!row) {
      return;
    }
    if (row === this.#selected) {
      const next = row.element.nextElementSibling ?? row.element.previousElementSibling;
      const isFocused = document.activeElement === row.element;
      this.select(next?.dataset.key);
      isFocused && this.focus();
    }
    this.#leave(row);
    this.#rows.delete(key);
  }

  #match(row) {
    row.element.hidden = !this.#words.every((word) => row.text.includes(word));
  }

  #count() {
    this.#shown = 0;
    for (const { element } of this.#groups.values()) {
      const shown = element.querySelectorAll(":scope > .container:not([hidden])").length;
      this.#shown += shown;
      setText(element.querySelector(".count"), String(shown));
      element.hidden = shown === 0;
    }
    if (!this.#selected) {
      const first = this.#element.querySelector(".container");
      first && (first.tabIndex = 0);
    }
  }
}
