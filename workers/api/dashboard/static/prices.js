// The overview: all assets, each with its price, its day, and how sure the node is of it; above them how the node is.
// A row is made once and its cells change in place. Only rows on the screen, and those near it, are told.

import { changeOf, days, nameOf, watchDay } from "./day.js";
import { age, badge, bps, digitsOf, drawSpark, element, muted, number, patch, percent, price, setText, spark, tiles, UNKNOWN, words } from "./format.js";
import { isLive, link, node, nodeNow, on, rows, show } from "./live.js";

const POINTS = 120; // values in a line
const LEAST_POINTS = 20; // fill a line
const SAMPLE_MS = 1000; // one a second: two minutes
const AGE_MS = 500;
const NEAR = "300px"; // from the screen, rows are told as if they were on it
const KEY = "sort";

const history = new Map(); // asset -> values, null where there was no good price; lives on while other views are shown

setInterval(() => {
  for (const [asset, row] of rows) {
    const values = history.get(asset) ?? [];
    values.push(isLive(asset) && row.status === "fresh" ? row.price : null);
    if (values.length > POINTS) values.shift();
    history.set(asset, values);
  }
}, SAMPLE_MS);

const known = (asset, field) => rows.get(asset)?.[field] ?? null;
// For the order alone: rows that are far from the screen are not told, but the node says each second what they are.
const NODE_NAMES = { spread_bps: "disagreement_bps" };
const found = (asset, field) => known(asset, field)
  ?? node?.assets.find((one) => one.asset === asset)?.[NODE_NAMES[field] ?? field] ?? null;
const stampOf = (asset) => known(asset, "timestamp") ?? known(asset, "last_timestamp");

// Title, classes, what it is sorted by (the larger first where it is a number), and its long name.
const COLUMNS = [
  ["Asset", "", (asset) => asset],
  ["Price, USD", "number", (asset) => found(asset, "price")],
  ["Status", "", (asset) => found(asset, "status")],
  ["24 h", "number", (asset) => changeOf(asset, found(asset, "price")), "Change in 24 hours"],
  ["High", "number wide", (asset) => days.get(asset)?.high_24h ?? null, "Highest in 24 hours, USD"],
  ["Low", "number wide", (asset) => days.get(asset)?.low_24h ?? null, "Lowest in 24 hours, USD"],
  ["Spread", "number wide", (asset) => found(asset, "spread_bps"), "How far the exchanges are apart, in hundredths of a percent"],
  ["± bps", "number wide", (asset) => found(asset, "confidence_bps"), "Confidence, in hundredths of a percent of the price"],
  ["Sources", "number wide", (asset) => found(asset, "sources")],
  ["Age", "number wide", (asset) => found(asset, "timestamp")],
  ["Last 2 min", "wide", null],
];
const [ASSET, PRICE, STATUS, CHANGE, HIGH, LOW, SPREAD, CONFIDENCE, SOURCES, AGE, LINE] = COLUMNS.keys();

export function pricesView(main) {
  const table = new Overview(main);
  const ends = [on("rows", (names) => table.showRows(names)), on("node", () => table.showNode()), on("link", () => table.showAll()),
    watchDay(() => table.showDays())];
  const timers = [setInterval(() => table.showAges(), AGE_MS), setInterval(() => table.showLines(), SAMPLE_MS)];
  return () => {
    ends.forEach((end) => end());
    timers.forEach(clearInterval);
    table.seen.disconnect();
  };
}

class Overview {
  lines = new Map(); // asset -> its row of the table
  visible = new Set();

  constructor(main) {
    this.summary = element("div", { class: "summary" });
    this.body = element("tbody");
    this.search = element("input", { type: "search", id: "search", placeholder: "BTC or Bitcoin", spellcheck: "false" });
    this.nothing = element("p", { role: "status" });
    this.note = muted("");
    this.sort = recallSort();
    this.heads = COLUMNS.map((column, i) => headOf(column, () => this.sortBy(i)));
    this.seen = new IntersectionObserver((changes) => this.onSeen(changes), { rootMargin: NEAR });
    main.append(element("div", { class: "top" }, element("h1", {}, "Prices"),
      element("p", { class: "search" }, element("label", { for: "search" }, "Find"), this.search)), this.summary,
    element("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Prices" },
      element("table", { class: "prices" }, element("caption", { class: "unseen" }, "Consensus of the exchanges, live"),
        element("thead", {}, element("tr", {}, this.heads)), this.body), this.nothing), this.note);
    this.search.addEventListener("input", () => this.filter());
    this.showNode();
    this.showDays();
    this.showRows([...rows.keys()]);
  }

  // Which assets there are says the node; what they are worth says the stream.
  showNode() {
    patch(this.summary, summaryOf());
    const missing = (node?.assets ?? []).map(({ asset }) => asset).filter((asset) => !this.lines.has(asset));
    missing.forEach((asset) => this.add(asset));
    if (missing.length) this.order();
    this.showNote();
  }

  add(asset) {
    const line = newLine(asset);
    this.lines.set(asset, line);
    this.body.append(line.tr);
    this.seen.observe(line.tr);
    this.showDay(line);
    this.showRow(line);
  }

  onSeen(changes) {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) this.visible.add(target.dataset.asset);
      else this.visible.delete(target.dataset.asset);
    }
    if (this.visible.size) show([...this.visible].sort());
  }

  showRows(names) {
    const missing = names.filter((asset) => !this.lines.has(asset));
    missing.forEach((asset) => this.add(asset));
    if (missing.length) this.order();
    for (const asset of names) this.showRow(this.lines.get(asset));
    this.showStates();
  }

  showAll() {
    this.lines.forEach((line) => this.showRow(line));
    patch(this.summary, summaryOf());
  }

  showRow(line) {
    const row = rows.get(line.asset) ?? {};
    const fresh = row.status === "fresh", cells = line.cells;
    const digits = digitsOf(row.price ?? row.last_price ?? 1);
    setText(cells[PRICE], fresh ? price(row.price, digits) : row.status ? "refused" : "");
    setText(cells[SPREAD], row.spread_bps == null ? "" : bps(row.spread_bps));
    setText(cells[CONFIDENCE], row.confidence_bps == null ? "" : bps(row.confidence_bps));
    setText(cells[SOURCES], fresh ? `${number(row.sources)} of ${number(row.sources + row.rejected)}` : "");
    this.showChange(line, row);
    this.showState(line);
  }

  showChange(line, row) {
    const change = changeOf(line.asset, row.price);
    setText(line.cells[CHANGE], change == null ? UNKNOWN : percent(change));
    line.cells[CHANGE].className = `number ${change > 0 ? "up" : change < 0 ? "down" : ""}`;
  }

  showDays() {
    this.lines.forEach((line) => this.showDay(line));
    this.order();
    this.showNote();
  }

  showDay(line) {
    const day = days.get(line.asset), digits = digitsOf(day?.high_24h ?? 1);
    setText(line.name, nameOf(line.asset));
    setText(line.cells[HIGH], day?.high_24h == null ? UNKNOWN : price(day.high_24h, digits));
    setText(line.cells[LOW], day?.low_24h == null ? UNKNOWN : price(day.low_24h, digits));
    this.showChange(line, rows.get(line.asset) ?? {});
  }

  showNote() {
    const isKnown = [...days.values()].some((day) => day.price_24h != null);
    setText(this.note, isKnown || node === null ? "" : node.database
      ? "24 h figures come from the node's own history: they appear once it is a day old."
      : "24 h figures come from the node's own history, and its database does not answer now. Prices go on without it.");
  }

  showStates() { this.lines.forEach((line) => this.showState(line)); }

  showState(line) {
    const [text, level, sign] = stateOf(line.asset);
    if (line.shown === text) return;
    line.shown = text;
    line.tr.className = level;
    line.tr.dataset.state = level;
    line.cells[STATUS].replaceChildren(badge(text, level, sign));
  }

  showAges() {
    this.lines.forEach(({ asset, cells }) => {
      const stamp = stampOf(asset);
      setText(cells[AGE], stamp == null ? "" : `${known(asset, "timestamp") == null ? "last " : ""}${age(nodeNow() - stamp)}`);
    });
  }

  showLines() { this.lines.forEach((line) => drawSpark(line.line, history.get(line.asset) ?? [], LEAST_POINTS)); }

  filter() {
    const sought = this.search.value.trim().toLowerCase();
    let found = 0;
    for (const { asset, tr } of this.lines.values()) {
      tr.hidden = !`${asset} ${nameOf(asset)}`.toLowerCase().includes(sought);
      if (!tr.hidden) found += 1;
    }
    if (this.lines.size === 0) this.nothing.replaceChildren(muted("Waiting for the first prices."));
    else if (found) this.nothing.replaceChildren();
    else {
      const clear = element("button", { type: "button" }, "Show all");
      clear.addEventListener("click", () => { this.search.value = ""; this.filter(); this.search.focus(); });
      this.nothing.replaceChildren(`No asset of this node is called “${this.search.value.trim()}”. `, clear);
    }
  }

  sortBy(column) {
    const isSame = this.sort.column === column;
    const isNumber = column !== ASSET && column !== STATUS;
    this.sort = { column, isDown: isSame ? !this.sort.isDown : isNumber };
    localStorage.setItem(KEY, JSON.stringify(this.sort));
    this.order();
  }

  order() {
    const { column, isDown } = this.sort, by = COLUMNS[column][2];
    const keyed = [...this.lines.values()].map((line) => [by(line.asset), line]);
    keyed.sort(([a, one], [b, other]) => compare(a, b, isDown) || compare(one.asset, other.asset, false));
    keyed.forEach(([, { tr }], i) => { if (this.body.children[i] !== tr) this.body.insertBefore(tr, this.body.children[i] ?? null); });
    this.heads.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : isDown ? "descending" : "ascending"));
    this.filter();
  }
}

// What is not known is last, whichever way.
function compare(a, b, isDown) {
  if (a == null || b == null) return (a == null) - (b == null);
  const order = a < b ? -1 : a > b ? 1 : 0;
  return isDown ? -order : order;
}

function recallSort() {
  try {
    const { column, isDown } = JSON.parse(localStorage.getItem(KEY));
    if (COLUMNS[column]?.[2]) return { column, isDown: !!isDown };
  } catch { /* nothing that can be read */ }
  return { column: ASSET, isDown: false };
}

// Word, level and shape.
function stateOf(asset) {
  if (link === "lost") return ["no connection", "old", "?"];
  if (!isLive(asset)) return ["waiting", "old", "…"];
  const status = known(asset, "status");
  if (status === "fresh") return ["fresh", "good", ""];
  return [status === "sources_disagree" ? "disputed" : words(status), "bad", status === "sources_disagree" ? "≠" : "✕"];
}

function summaryOf() {
  if (node === null) {
    const state = badge(link === "lost" ? "no answer" : "asking", "old");
    return [tiles([["Node", state], ["Fresh prices", UNKNOWN], ["Exchanges live", UNKNOWN], ["USDT in USD", UNKNOWN], ["USDC in USD", UNKNOWN]])];
  }
  const feeds = Object.values(node.feeds);
  const fresh = node.assets.filter((asset) => asset.status === "fresh").length;
  const level = { ok: "good", degraded: "warn", down: "bad" }[node.status];
  const coins = Object.entries(node.usd_indexes).map(([coin, usd]) => [`${coin} in USD`, usd == null ? UNKNOWN : number(usd, 5)]);
  return [tiles([["Node", badge(node.status, level)], ["Fresh prices", number(fresh), `of ${number(node.assets.length)}`],
    ["Exchanges live", number(feeds.filter((feed) => feed.status === "ws").length), `of ${number(feeds.length)}`], ...coins])];
}

function headOf([title, kind, by, long], onClick) {
  if (!by) return element("th", { scope: "col", class: kind }, title);
  const button = element("button", { type: "button", class: "sort", title: long }, title);
  button.addEventListener("click", onClick);
  return element("th", { scope: "col", class: kind, "aria-sort": "none" }, button);
}

function newLine(asset) {
  const cells = COLUMNS.map(([, kind], i) => element(i ? "td" : "th", { class: kind, scope: i ? null : "row" }));
  const line = spark(), name = element("span", { class: "name" });
  cells[ASSET].append(element("a", { href: `#/asset/${encodeURIComponent(asset)}` }, asset), " ", name);
  cells[PRICE].classList.add("price");
  cells[LINE].append(line);
  return { asset, cells, name, line, tr: element("tr", { "data-asset": asset }, cells), shown: null };
}
