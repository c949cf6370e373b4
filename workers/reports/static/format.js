// Numbers, ages and small pieces of page. Text only ever enters the page as text, never as markup.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child ?? ""))));
  return made;
}

export function price(value) {
  if (value == null) return "none";
  const digits = Math.min(12, Math.max(2, 5 - Math.floor(Math.log10(Math.abs(value) || 1))));
  return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: digits });
}

export const count = (value) => (value == null ? "none" : value.toLocaleString("en"));

export function age(ms) {
  if (ms == null) return "never";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 90_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

export const badge = (text, level) => element("span", { class: `badge ${level}` }, text);

export function table(caption, columns, rows) {
  const head = element("tr", {}, ...columns.map(([title, kind]) => element("th", { scope: "col", class: kind }, title)));
  const body = rows.map((cells) =>
    element("tr", {}, ...cells.map((cell, i) => element("td", { class: columns[i][1] }, cell))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body)));
}

export function facts(pairs) {
  return element("dl", { class: "facts" },
    ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export function card(title, level, ...children) {
  return element("section", { class: `card ${level}` }, element("h2", {}, title), ...children);
}

export function spark(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  svg.append(line);
  drawSpark(svg, values);
  return svg;
}

export function drawSpark(svg, values) {
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, i) => `${(i * step).toFixed(1)},${(19 - 18 * (value - low) / span).toFixed(1)}`);
  svg.firstChild.setAttribute("points", points.join(" "));
}
