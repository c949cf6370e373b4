// All assets: price, confidence, sources, age, a line of the last two minutes; above them how the node is.

import { age, badge, digitsOf, drawSpark, element, muted, patch, price, spark, tiles, words } from "./format.js";
import { isLive, link, node, nodeNow, on, prices } from "./live.js";

const POINTS = 120; // values in a line
const LEAST_POINTS = 20; // fill a line
const SAMPLE_MS = 1000; // one a second: two minutes
const REFRESH_MS = 250;

const history = new Map(); // asset -> values, null where there was no good price; lives on while other views are shown

setInterval(() => {
  for (const [asset, event] of prices) {
    const values = history.get(asset) ?? [];
    values.push(isLive(event) && event.status === "fresh" ? event.price : null);
    if (values.length > POINTS) values.shift();
    history.set(asset, values);
  }
}, SAMPLE_MS);

const COLUMNS = [["Asset", ""], ["Price, USD", "number"], ["Confidence", "number wide"], ["Sources", "number wide"],
  ["Age", "number"], ["Last 2 min", "wide"], ["Status", ""]];

export function pricesView(main) {
  const overview = element("div");
  const body = element("tbody");
  const waiting = muted("Waiting for the first prices.");
  const head = element("tr", {}, COLUMNS.map(([title, kind]) => element("th", { scope: "col", class: kind }, title)));
  main.append(element("h1", {}, "Prices"), overview,
    element("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Prices" },
      element("table", { class: "prices" }, element("caption", { class: "unseen" }, "Consensus of the exchanges, live"),
        element("thead", {}, head), body), waiting));
  const rows = new Map();
  const show = (event) => {
    waiting.hidden = true;
    if (!rows.has(event.asset)) rows.set(event.asset, newRow(body, event.asset));
    showPrice(rows.get(event.asset), event);
  };
  const showNode = () => patch(overview, overviewOf());
  const showLines = () => rows.forEach((row) => drawSpark(row.line, history.get(row.asset) ?? [], LEAST_POINTS));
  prices.forEach(show);
  showNode();
  showLines();
  const ends = [on("price", show), on("node", showNode), on("link", () => rows.forEach(showState))];
  const timers = [setInterval(() => rows.forEach(showAge), REFRESH_MS), setInterval(showLines, SAMPLE_MS)];
  return () => {
    ends.forEach((end) => end());
    timers.forEach(clearInterval);
  };
}

function overviewOf() {
  if (node === null) {
    const state = badge(link === "lost" ? "no answer" : "asking", "old");
    return [tiles([["Node", state], ["Fresh prices", "unknown"], ["Exchanges live", "unknown"]])];
  }
  const feeds = Object.values(node.feeds);
  const fresh = node.assets.filter((asset) => asset.status === "fresh").length;
  const level = { ok: "good", degraded: "warn", down: "bad" }[node.status];
  const coins = Object.entries(node.usd_indexes).map(([coin, usd]) => [`${coin} in USD`, usd == null ? "unknown" : usd.toFixed(5)]);
  return [tiles([["Node", badge(node.status, level)], ["Fresh prices", fresh, `of ${node.assets.length}`],
    ["Exchanges live", feeds.filter((feed) => feed.status === "ws").length, `of ${feeds.length}`], ...coins])];
}

function newRow(body, asset) {
  const cells = COLUMNS.map(([, kind], i) => element(i ? "td" : "th", { class: kind, scope: i ? null : "row" }));
  const line = spark();
  cells[0].append(element("a", { href: `#/asset/${encodeURIComponent(asset)}` }, asset));
  cells[1].classList.add("price");
  cells[5].append(line);
  const tr = element("tr", { "data-asset": asset }, cells);
  body.append(tr);
  return { asset, cells, line, tr, last: null };
}

function showPrice(row, event) {
  const [, priceCell, confidence, sources] = row.cells;
  const fresh = event.status === "fresh";
  const digits = fresh ? digitsOf(event.price) : 0;
  priceCell.textContent = fresh ? price(event.price, digits) : "refused";
  confidence.textContent = fresh ? `± ${price(event.confidence, digits)}` : "";
  sources.textContent = fresh ? `${event.sources} of ${event.sources + event.rejected}` : "";
  row.move = fresh && row.last != null && event.price !== row.last ? (event.price > row.last ? "rose" : "fell") : "";
  if (fresh) row.last = event.price;
  showState(row);
}

function showState(row) {
  const event = prices.get(row.asset);
  const live = event !== undefined && isLive(event);
  const [text, level] = !live ? ["no news", "old"] : event.status === "fresh" ? ["fresh", "good"] : [words(event.status), "bad"];
  row.tr.className = live ? row.move : "old";
  if (row.shown !== text) row.cells[6].replaceChildren(badge(text, level));
  row.shown = text;
}

function showAge(row) {
  const event = prices.get(row.asset);
  const timestamp = event?.timestamp ?? event?.last_timestamp;
  row.cells[4].textContent = timestamp == null ? "" : `${event.timestamp == null ? "last " : ""}${age(nodeNow() - timestamp)}`;
}
