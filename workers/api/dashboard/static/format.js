// Numbers, times and pieces of page, in the zone and the number format that the reader chose (settings.js). Text only
// ever enters the page as text, never as markup.

import { chosen } from "./settings.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") made.style.cssText = value; // as an attribute the page's policy refuses it
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().map((child) => (child instanceof Node ? child : String(child ?? ""))));
  return made;
}

// Makes the page's children equal to `children`, changing only what differs: focus, selection and the place of a
// screen reader stay where they are, also when a view is drawn again each second.
export function patch(parent, children) {
  const shown = [...parent.childNodes];
  children.forEach((child, i) => (shown[i] ? patchNode(shown[i], child) : parent.append(child)));
  shown.slice(children.length).forEach((node) => node.remove());
}

function patchNode(shown, made) {
  if (shown.nodeName !== made.nodeName) return shown.replaceWith(made);
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== made.data) shown.data = made.data;
    return undefined;
  }
  for (const { name } of [...shown.attributes]) if (!made.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
  for (const { name, value } of made.attributes) {
    if (shown.getAttribute(name) === value) continue;
    if (name === "style") shown.style.cssText = value;
    else shown.setAttribute(name, value);
  }
  return patch(shown, [...made.childNodes]);
}

// A text that is the same already is not touched, so nothing is drawn anew.
export function setText(into, text) {
  if (into.textContent !== text) into.textContent = text;
}

// --- numbers ----------------------------------------------------------------------------------------------------

const numbers = new Map(); // made once for each form: making one takes longer than using it a thousand times

// A number with so many decimals, as the reader writes numbers.
export function number(value, digits = 0) {
  const { name, numbers: { locale, grouped } } = chosen(), key = `${name} ${digits}`;
  if (!numbers.has(key)) {
    numbers.set(key, new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: grouped }));
  }
  return numbers.get(key).format(value);
}

// So many decimals that neighbours in time have the same: six figures of a price, cents at least.
export const digitsOf = (value) => Math.min(12, Math.max(2, 5 - Math.floor(Math.log10(Math.abs(value) || 1))));

// What cannot be said now, wherever a figure would stand.
export const UNKNOWN = "unknown";

export const price = (value, digits = digitsOf(value)) => (value == null ? "none" : number(value, digits));
export const count = (value) => (value == null ? "none" : number(value));
export const share = (part, whole) => (whole ? `${number(100 * part / whole, 1)} %` : "none");

// Hundredths of a percent, with as many decimals as say something.
export const bps = (value) => (value == null ? "none" : number(value, Math.abs(value) < 10 ? 2 : Math.abs(value) < 1000 ? 1 : 0));
export const percent = (value) => (value == null ? "none" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${number(Math.abs(value), 2)} %`);

// --- times ------------------------------------------------------------------------------------------------------

const formats = new Map(); // by zone, as above

function partsOf(ms, zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit",
      day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" }));
  }
  return Object.fromEntries(formats.get(zone).formatToParts(ms).map(({ type, value }) => [type, value]));
}

const partsHere = (ms) => partsOf(ms, chosen().zone);

// How far the chosen zone is ahead of UTC at this moment.
export function zoneOffsetMs(ms) {
  const { year, month, day: date, hour, minute, second } = partsHere(ms);
  return Date.UTC(year, month - 1, date, hour, minute, second) - Math.floor(ms / 1000) * 1000;
}

export const zoneName = () => chosen().zone;

export function clock(ms, seconds = false) {
  const { hour, minute, second } = partsHere(ms);
  return seconds ? `${hour}:${minute}:${second}` : `${hour}:${minute}`;
}

export function day(ms) {
  const { year, month, day: date } = partsHere(ms);
  return `${year}-${month}-${date}`;
}

export const dayAndClock = (ms, seconds = false) => `${day(ms)} ${clock(ms, seconds)}`;

// A time of the API, or in ms, to the second.
export const moment = (at) => (at ? dayAndClock(new Date(at).getTime(), true) : "never");

export function age(ms) {
  if (ms == null) return "never";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 90_000) return `${number(ms / 1000, 1)} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}

export function micros(us) {
  if (us == null) return "none";
  const [value, unit] = us < 1000 ? [us, "µs"] : [us / 1000, "ms"];
  return `${number(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${number(value, unit ? 1 : 0)} ${units[unit]}`;
}

export const words = (code) => code.replaceAll("_", " ");

const STATUSES = {
  200: "answered", 400: "bad request", 401: "no key, or a wrong one", 403: "forbidden", 404: "not found",
  405: "wrong method", 408: "too slow", 413: "too large", 429: "over a limit", 500: "fault", 503: "no good price",
};
export const statusName = (status) => `${status} ${STATUSES[status] ?? ""}`.trim();

// --- pieces -----------------------------------------------------------------------------------------------------

// A word in its colour; the sign before it is its shape, for whoever sees no colours.
const SIGNS = { bad: "✕", warn: "!", old: "" };
export const badge = (text, level, sign = SIGNS[level]) => element("span", { class: `badge ${level}`, ...(sign ? { "data-sign": sign } : {}) }, text);
export const muted = (text) => element("p", { class: "muted" }, text);

// Columns are [title, classes]; a cell is text or a piece. Without rows it says what is missing.
export function table(caption, columns, rows, empty = "Nothing yet.") {
  if (!rows.length) return element("div", {}, muted(empty));
  const head = element("tr", {}, columns.map(([title, kind]) => element("th", { scope: "col", class: kind }, title)));
  const body = rows.map((cells) => element("tr", {}, cells.map((cell, i) =>
    element(i ? "td" : "th", { class: columns[i][1], scope: i ? null : "row" }, cell))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("caption", { class: "unseen" }, caption), element("thead", {}, head), element("tbody", {}, body)));
}

export const facts = (pairs, kind = "facts") =>
  element("ul", { class: kind }, pairs.map(([name, value, note]) => element("li", {},
    element("span", {}, name), " ", element("strong", {}, value, note ? element("small", {}, ` ${note}`) : ""))));

// The figures that matter most, large.
export const tiles = (pairs) => facts(pairs, "tiles");

export const card = (title, level, ...children) =>
  element("section", { class: `card ${level}` }, element("h2", {}, title), ...children);

// Shares of a whole: name, number, and a bar as long as the number.
export function bars(caption, name, pairs, empty) {
  const most = Math.max(1, ...pairs.map(([, value]) => value));
  const rows = [...pairs].sort((a, b) => b[1] - a[1]).map(([label, value]) => [label, count(value),
    element("div", { class: "meter", style: `width:${(100 * value / most).toFixed(1)}%` })]);
  return table(caption, [[name, ""], ["Count", "number"], ["", "share"]], rows, empty);
}

// Columns side by side; whoever does not see them hears their names and numbers.
export function columns(caption, pairs) {
  const most = Math.max(1, ...pairs.map(([, value]) => value));
  const heard = pairs.filter(([, value]) => value).map(([name, value]) => `${name}: ${count(value)}`).join(", ");
  return element("figure", { class: "columns" },
    element("div", { role: "img", "aria-label": `${caption}. ${heard || "Nothing yet."}` }, pairs.map(([name, value]) =>
      element("span", { title: `${name}: ${count(value)}`, style: `height:${(100 * value / most).toFixed(1)}%` }))),
    element("figcaption", { "aria-hidden": "true" }, element("span", {}, pairs[0]?.[0]), element("span", {}, caption),
      element("span", {}, pairs.at(-1)?.[0])));
}

// A line of values without axes; null is a gap in it. A few values alone do not fill it.
export function spark() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of [["class", "spark"], ["viewBox", "0 0 100 20"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) {
    svg.setAttribute(name, value);
  }
  svg.append(path);
  return svg;
}

export function drawSpark(svg, values, leastPoints) {
  const known = values.filter((value) => value != null);
  const low = Math.min(...known), span = Math.max(...known) - low || 1;
  const points = Math.max(leastPoints, values.length), left = points - values.length; // the newest at the right end
  let pen = "M";
  const steps = values.map((value, i) => {
    if (value == null) return (pen = "M", "");
    const step = `${pen}${(100 * (left + i) / (points - 1)).toFixed(1)} ${(19 - 18 * (value - low) / span).toFixed(1)}`;
    pen = "L";
    return step;
  });
  svg.firstChild.setAttribute("d", steps.join(""));
}
