// Numbers, ages and pieces of page. Text only ever enters the page as text, never as markup.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
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
  for (const { name, value } of made.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  return patch(shown, [...made.childNodes]);
}

// --- numbers ----------------------------------------------------------------------------------------------------

// So many decimals that neighbours in time have the same: six figures of a price, cents at least.
export const digitsOf = (value) => Math.min(12, Math.max(2, 5 - Math.floor(Math.log10(Math.abs(value) || 1))));

export function price(value, digits = digitsOf(value)) {
  if (value == null) return "none";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export const count = (value) => (value == null ? "none" : value.toLocaleString("en"));
export const share = (part, whole) => (whole ? `${(100 * part / whole).toFixed(1)} %` : "none");

export function age(ms) {
  if (ms == null) return "never";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 90_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

export function micros(us) {
  if (us == null) return "none";
  return us < 1000 ? `${Number(us.toPrecision(3))} µs` : `${Number((us / 1000).toPrecision(3))} ms`;
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

export const words = (code) => code.replaceAll("_", " ");
export const moment = (iso) => (iso ? `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC` : "never");

const STATUSES = {
  200: "answered", 400: "bad request", 401: "no key, or a wrong one", 403: "forbidden", 404: "not found",
  405: "wrong method", 408: "too slow", 413: "too large", 429: "over a limit", 500: "fault", 503: "no good price",
};
export const statusName = (status) => `${status} ${STATUSES[status] ?? ""}`.trim();

// --- pieces -----------------------------------------------------------------------------------------------------

export const badge = (text, level) => element("span", { class: `badge ${level}` }, text);
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
