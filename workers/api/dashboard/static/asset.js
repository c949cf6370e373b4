// One asset: its price now, its candles from before the page was opened, and each exchange against the consensus.

import { get, poll } from "./client.js";
import { newChart } from "./charts.js";
import { changeOf, days, nameOf, watchDay } from "./day.js";
import { exchangesPart } from "./exchanges.js";
import { age, badge, bps, card, dayAndClock, digitsOf, element, number, patch, percent, price, table, tiles, UNKNOWN, words, zoneName } from "./format.js";
import { isLive, link, node, nodeNow, on, rows, show } from "./live.js";

const MINUTE_MS = 60_000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS;
// Range -> [how long, granularity of the API, length of a candle, its name]: 60 to 720 candles each.
const RANGES = {
  "1h": [HOUR_MS, "1m", MINUTE_MS, "minute"],
  "6h": [6 * HOUR_MS, "1m", MINUTE_MS, "minute"],
  "24h": [DAY_MS, "5m", 5 * MINUTE_MS, "5 minutes"],
  "7d": [7 * DAY_MS, "1h", HOUR_MS, "hour"],
  "30d": [30 * DAY_MS, "1h", HOUR_MS, "hour"],
  "90d": [90 * DAY_MS, "1d", DAY_MS, "day"],
};
const USUAL_RANGE = "6h";
const KEY = "range";
const NEWER_EVERY_MS = 10_000; // a minute is in the database two seconds after its end
const AWAY_MS = 1000; // until there is a database
const NOW_MS = 500;

export function assetView(main, asset) {
  let close = () => {};
  main.append(element("p", { class: "back" }, element("a", { href: "#/" }, "All prices")),
    element("h1", {}, asset, " ", element("small", { id: "asset-name" }, nameOf(asset))));
  const open = () => {
    if (node === null) return;
    stopWaiting();
    if (node.assets.some((known) => known.asset === asset)) close = openAsset(main, asset);
    else showAbsent(main);
  };
  const stopWaiting = on("node", open);
  open();
  return () => {
    stopWaiting();
    close();
  };
}

// An asset is known when the node's state is: nothing is asked about one that does not exist.
function showAbsent(main) {
  const links = node.assets.map(({ asset }) => element("li", {}, element("a", { href: `#/asset/${encodeURIComponent(asset)}` }, asset)));
  main.append(element("div", { class: "card" }, element("p", {}, "This node has no asset of this name. It has these:"), element("ul", { class: "names" }, links)));
}

function openAsset(main, asset) {
  show([asset]);
  const state = element("div", { role: "status" }), now = element("div");
  const candles = new Candles(asset);
  const each = exchangesPart(asset);
  main.append(state, now, candles.root, each.root);
  const showNow = () => {
    patch(state, stateOf(asset));
    patch(now, [nowOf(asset)]);
    candles.showLink();
  };
  const showName = () => { document.getElementById("asset-name").textContent = nameOf(asset); };
  showNow();
  const ends = [on("rows", showNow), on("link", showNow), on("node", () => candles.watchDatabase()), watchDay(showName), each.close];
  const timer = setInterval(showNow, NOW_MS);
  return () => {
    ends.forEach((end) => end());
    candles.close();
    clearInterval(timer);
  };
}

// --- now --------------------------------------------------------------------------------------------------------

const reasonOf = (asset) => node?.assets.find((known) => known.asset === asset)?.reason;

// What is wrong, in a whole sentence and above everything else; nothing when nothing is.
function stateOf(asset) {
  const row = rows.get(asset);
  const told = (level, sign, title, text) => [element("div", { class: `banner ${level}`, "data-sign": sign },
    element("strong", {}, title), " ", element("span", {}, text))];
  if (link === "lost") return told("old", "?", "No connection.", "What is grey is old: it is what the node said last.");
  if (row === undefined || !isLive(asset) || row.status === "fresh") return [];
  const last = row.last_price == null ? "There was no good price yet."
    : `The last good one was ${price(row.last_price)} USD, ${age(nodeNow() - row.last_timestamp)} ago.`;
  const why = reasonOf(asset) ? `${reasonOf(asset)}. ` : "";
  return row.status === "sources_disagree" ? told("bad", "≠", "Disputed: there is no price now.", `${why}${last}`)
    : told("bad", "✕", `Refused (${words(row.status)}): there is no price now.`, `${why}${last}`);
}

function nowOf(asset) {
  const row = rows.get(asset) ?? {};
  const live = isLive(asset), fresh = row.status === "fresh";
  const digits = digitsOf(row.price ?? row.last_price ?? 1);
  const stamp = row.timestamp ?? row.last_timestamp;
  const state = !live ? badge(link === "lost" ? "no connection" : "waiting", "old", "?") : fresh ? badge("fresh", "good")
    : row.status === undefined ? badge("waiting", "old", "…") : row.status === "sources_disagree" ? badge("disputed", "bad", "≠") : badge(words(row.status), "bad");
  const change = changeOf(asset, row.price), day = days.get(asset);
  const shown = [["Price, USD", fresh ? price(row.price, digits) : row.status ? "refused" : "…"], ["Status", state],
    ["24 h", change == null ? UNKNOWN : element("span", { class: change > 0 ? "up" : change < 0 ? "down" : "" }, percent(change))],
    ["24 h low to high", day?.high_24h == null ? UNKNOWN : `${price(day.low_24h, digits)} – ${price(day.high_24h, digits)}`],
    ["Confidence", fresh ? `± ${bps(row.confidence_bps)}` : "none", fresh ? "bps" : ""],
    ["Exchanges apart", fresh ? bps(row.spread_bps) : UNKNOWN, fresh ? "bps" : ""],
    ["Sources", fresh ? number(row.sources) : "0", fresh ? `of ${number(row.sources + row.rejected)}` : ""],
    ["Age", stamp == null ? "never" : age(nodeNow() - stamp)]];
  return element("div", { class: live ? "now" : "now old" }, tiles(shown));
}

// --- candles ----------------------------------------------------------------------------------------------------

class Candles {
  #found = new Map(); // begin in ms -> candle, of the range that is shown
  #stop = () => {};
  #isOld = false;
  #hasDatabase;

  constructor(asset) {
    this.asset = asset;
    this.chart = newChart("candles", `Candles of ${asset}`);
    this.note = element("p", { class: "muted", role: "status" }, "Asking the node.");
    this.ways = element("p", { class: "actions left" });
    this.rows = element("div");
    this.data = element("details", { hidden: true }, element("summary", {}, "The same as a table"), this.rows);
    this.data.addEventListener("toggle", () => this.showRows());
    const kept = localStorage.getItem(KEY);
    this.range = Object.hasOwn(RANGES, kept ?? "") ? kept : USUAL_RANGE;
    this.buttons = Object.keys(RANGES).map((name) => {
      const button = element("button", { type: "button", "aria-pressed": "false", "data-range": name }, name);
      button.addEventListener("click", () => this.choose(name));
      return button;
    });
    this.root = card("Candles", "", element("p", { class: "choice", role: "group", "aria-label": "Range" }, this.buttons),
      this.chart.root, this.note, this.ways, this.data);
    this.onFormat = () => this.#found.size && this.draw();
    addEventListener("formatchange", this.onFormat);
    this.choose(this.range);
  }

  close() {
    this.#stop();
    removeEventListener("formatchange", this.onFormat);
    this.chart.remove();
  }

  choose(range) {
    this.range = range;
    localStorage.setItem(KEY, range);
    this.buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.range === range)));
    this.#found.clear();
    this.#stop();
    let askedAt = -Infinity;
    this.#stop = poll(AWAY_MS, async (signal) => {
      if (node === null || performance.now() - askedAt < NEWER_EVERY_MS) return;
      if (!node.database) return this.showAway();
      askedAt = performance.now();
      await this.load(signal);
    });
  }

  // All of the range first, then what is newer than the last candle, and that one again: it was not over.
  async load(signal) {
    const [length, granularity] = RANGES[this.range];
    const to = Math.ceil(nodeNow()), from = this.#found.size ? Math.max(...this.#found.keys()) : to - length;
    const query = new URLSearchParams({ asset: this.asset, granularity, from: new Date(from).toISOString(), to: new Date(to).toISOString() });
    try {
      const answer = await get(`/history?${query}`, signal);
      if (signal.aborted) return;
      for (const candle of answer.candles) if (candle.close != null) this.#found.set(Date.parse(candle.start), candle);
      for (const time of this.#found.keys()) if (time < to - length - RANGES[this.range][2]) this.#found.delete(time);
      if (this.#found.size) this.draw();
      else this.showNone();
    } catch (error) {
      if (!signal.aborted && !this.#found.size) this.showNothing(`No candles: ${error.message}`);
    }
  }

  showLink() {
    const isOld = link === "lost";
    if (isOld === this.#isOld) return;
    this.#isOld = isOld;
    if (this.#found.size) this.draw();
  }

  watchDatabase() {
    if (node === null || node.database === this.#hasDatabase) return;
    const isBack = this.#hasDatabase === false;
    this.#hasDatabase = node.database;
    if (!node.database) this.showAway();
    else if (isBack) this.choose(this.range);
  }

  showAway() {
    if (this.#found.size) this.note.textContent = "The database is away: newer candles come when it is back. The price above goes on.";
    else this.showNothing("No candles while the database is away. The price above goes on without it.");
  }

  showNone() {
    const names = Object.keys(RANGES), longer = names[names.indexOf(this.range) + 1];
    this.showNothing(this.range === "1h" ? "No candle yet: the first one comes with the end of its first minute."
      : `No candle in the last ${this.range}: this node has no price of ${this.asset} from then.`);
    if (!longer) return;
    const button = element("button", { type: "button" }, `Look at ${longer}`);
    button.addEventListener("click", () => this.choose(longer));
    this.ways.append(button);
  }

  showNothing(why) {
    this.chart.hide();
    this.note.textContent = why;
    this.ways.replaceChildren();
    this.data.hidden = true;
  }

  // Hundreds of rows: made when somebody looks at them.
  showRows() {
    if (!this.data.open || !this.#found.size) return;
    const times = [...this.#found.keys()].sort((a, b) => b - a), digits = digitsOf(this.#found.get(times[0]).close);
    const cells = times.map((time) => [dayAndClock(time), ...["open", "high", "low", "close"].map((field) => price(this.#found.get(time)[field], digits))]);
    patch(this.rows, [table(`Candles of ${this.asset}`, [["Begin", ""], ["Open", "number"], ["High", "number"], ["Low", "number"], ["Close", "number"]], cells)]);
  }

  draw() {
    const [, , stepMs, step] = RANGES[this.range];
    const times = [...this.#found.keys()].sort((a, b) => a - b), found = times.map((time) => this.#found.get(time));
    const digits = digitsOf(found.at(-1).close), format = (value) => price(value, digits);
    const lowest = Math.min(...found.map((candle) => candle.low)), highest = Math.max(...found.map((candle) => candle.high));
    this.chart.hear(`${this.chart.label}, one a ${step}, ${dayAndClock(times[0])} to ${dayAndClock(times.at(-1))}: `
      + `lowest ${format(lowest)}, highest ${format(highest)}, last ${format(found.at(-1).close)} USD`);
    this.note.textContent = this.#isOld ? `No connection: the newest candle is of ${dayAndClock(times.at(-1))}.`
      : `${number(found.length)} candles, one a ${step}, times in ${zoneName()}. A time without a good price is a gap.`;
    this.ways.replaceChildren();
    this.data.hidden = false;
    this.showRows();
    const points = stepsOf(times, stepMs).map((time) => ({ ...this.#found.get(time), time }));
    this.chart.draw([{ kind: "candles", name: this.asset, points }], { format, stepMs, range: this.range, isOld: this.#isOld })
      .catch((error) => { this.note.textContent = error.message; });
  }
}

// All times from the first to the last, those without a candle as well; a day may have an hour more or less.
function stepsOf(times, stepMs) {
  const all = [];
  times.forEach((time, i) => {
    for (let gap = (all.at(-1) ?? time) + stepMs; i && gap <= time - stepMs / 2; gap += stepMs) all.push(gap);
    all.push(time);
  });
  return all;
}
