// All assets: price, confidence, sources, age, a line of the last minutes.

import { get, listen, prices } from "./client.js";
import { age, badge, drawSpark, element, price, spark } from "./format.js";

const POINTS = 120; // values in a sparkline
const SAMPLE_MS = 1000; // one point a second: two minutes of line
const REFRESH_MS = 250;

const history = new Map(); // asset -> values; lives on while other views are shown

setInterval(() => {
  for (const [asset, event] of prices) {
    if (event.price == null) continue;
    const values = history.get(asset) ?? [];
    values.push(event.price);
    if (values.length > POINTS) values.shift();
    history.set(asset, values);
  }
}, SAMPLE_MS);

const COLUMNS = [["Asset", ""], ["Price in USD", "number"], ["Confidence", "number wide"], ["Sources", "number"],
  ["Age", "number"], ["Two minutes", "wide"], ["Status", ""]];

export function pricesView(main) {
  const body = element("tbody");
  const head = element("tr", {}, ...COLUMNS.map(([title, kind]) => element("th", { scope: "col", class: kind }, title)));
  main.append(
    element("h1", {}, "Prices"),
    element("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Prices" },
      element("table", {}, element("caption", {}, "Consensus of the exchanges, live"), element("thead", {}, head), body)));
  const rows = new Map();
  const stop = listen((event) => update(rows, body, event));
  for (const event of prices.values()) update(rows, body, event);
  const timer = setInterval(() => rows.forEach(refresh), REFRESH_MS);
  fill(rows, body);
  return () => {
    stop();
    clearInterval(timer);
  };
}

async function fill(rows, body) {
  const state = await get("/node").catch(() => ({ assets: [] }));
  for (const asset of state.assets) rowOf(rows, body, asset.asset);
}

function rowOf(rows, body, asset) {
  if (rows.has(asset)) return rows.get(asset);
  const cells = COLUMNS.map(([, kind]) => element("td", { class: kind }));
  cells[0].append(element("a", { href: `#/asset/${encodeURIComponent(asset)}` }, asset));
  cells[1].classList.add("price");
  const line = spark(history.get(asset) ?? []);
  cells[5].append(line);
  const row = { asset, cells, line, last: null, tr: element("tr", { "data-asset": asset }, ...cells) };
  rows.set(asset, row);
  body.append(row.tr);
  return row;
}

function update(rows, body, event) {
  const row = rowOf(rows, body, event.asset);
  const [, priceCell, confidence, sources, , , status] = row.cells;
  const fresh = event.status === "fresh";
  priceCell.textContent = fresh ? price(event.price) : "refused";
  confidence.textContent = fresh ? `± ${price(event.confidence)}` : "";
  sources.textContent = fresh ? `${event.sources} of ${event.sources + event.rejected}` : "";
  row.tr.className = fresh && row.last != null && event.price !== row.last ? (event.price > row.last ? "rose" : "fell") : "";
  if (fresh) row.last = event.price;
  if (row.status !== event.status) status.replaceChildren(badge(event.status, fresh ? "good" : "bad"));
  row.status = event.status;
}

function refresh(row) {
  const event = prices.get(row.asset);
  if (!event) return;
  const timestamp = event.timestamp ?? event.last_timestamp;
  row.cells[4].textContent = timestamp == null ? "" : age(Date.now() - timestamp);
  drawSpark(row.line, history.get(row.asset) ?? []);
}
