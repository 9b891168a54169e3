// Figures as people read them, and elements that are filled with text only, never with markup.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
export const UNKNOWN = "–";

export function human(count) {
  if (count === null || count === undefined) return UNKNOWN;
  let size = Math.abs(count);
  let power = 0;
  while (size >= (power ? 1023.5 : 1024) && power < UNITS.length - 1) {
    size /= 1024;
    power += 1;
  }
  const digits = power === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return `${count < 0 ? "−" : ""}${size.toFixed(digits)} ${UNITS[power]}`;
}

export const rate = (bytes) => (bytes === null ? UNKNOWN : `${human(Math.round(bytes))}/s`);
export const share = (value) => (value === null ? UNKNOWN : `${(value * 100).toFixed(1).replace("-", "−")} %`);
export const number = (value) => value.toLocaleString("en");
export const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
export const named = (object) => `${object[1]}/${object[2]}`;

export function money(value, currency) {
  const digits = Math.abs(value) >= 1 || Math.abs(value) < 0.00005 ? 2 : 4;
  const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const sign = value < 0 && Number(text.replaceAll(",", "")) !== 0 ? "−" : "";
  return `${sign}${text}${currency ? ` ${currency}` : ""}`;
}

export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
export const moment = (seconds) => new Date(seconds * 1000).toLocaleString();

export const find = (selector, root = document) => root.querySelector(selector);

// Leaves a node alone that says it already, so that a selection in it stays.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function element(name, className, parent, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

// Keeps one child of `list` for each entry, in order; `make` returns a new child.
export function fill(list, entries, make, put) {
  while (list.children.length > entries.length) list.lastElementChild.remove();
  entries.forEach((entry, place) => {
    let child = list.children[place];
    if (!child) {
      child = make();
      list.append(child);
    }
    put(child, entry);
  });
}

// Keeps the pairs of a <dl>, each a name and a value.
export function pairs(list, entries) {
  fill(
    list,
    entries,
    () => {
      const pair = element("div");
      element("dt", "", pair);
      element("dd", "", pair);
      return pair;
    },
    (pair, [name, value]) => {
      pair.className = value.length > 60 ? "long" : "";
      write(pair.firstElementChild, name);
      write(pair.lastElementChild, value);
    },
  );
}

// A bar of parts, each 0 to 1, drawn as one gradient would be: a column for each.
export function parts(bar, values) {
  fill(bar, values, () => element("span"), (column, value) => {
    column.style.opacity = value <= 0 ? 0.08 : 0.25 + 0.75 * Math.min(1, value);
  });
}
