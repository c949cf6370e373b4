// One asset: its price, candles, each exchange's own line, and why each source counts or not.

import { get, poll } from "./client.js";
import { colour, draw } from "./charts.js";
import { age, badge, card, digitsOf, element, muted, patch, price, table, tiles, words } from "./format.js";
import { isLive, node, nodeNow, on, prices } from "./live.js";

const CANDLE_HOURS = { "1m": 3, "5m": 12, "1h": 24 * 7, "1d": 24 * 90 };
const STEP_NAMES = { "1m": "minute", "5m": "5 minutes", "1h": "hour", "1d": "day" };
const LINE_POINTS = 600; // ten minutes
const POLL_MS = 1000;
const GAP_MS = 3000; // without a look at the exchanges: nobody knows what was between
const CANDLES_EVERY_MS = 15_000;
const LINE_COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];

// Of a refused price no source is good news.
const VERDICT_LEVELS = { used: "good", disputed: "bad" };

const lines = new Map(); // asset -> exchange -> {x, y}; lives on while other views are shown

// An asset is known when the node's state is: nothing is asked about one that does not exist.
export function assetView(main, asset) {
  let close = () => {};
  main.append(element("p", { class: "back" }, element("a", { href: "#/" }, "All prices")), element("h1", {}, asset));
  const open = () => {
    if (node === null) return;
    stopWaiting();
    if (node.assets.some((known) => known.asset === asset)) close = openAsset(main, asset);
    else main.append(element("div", { class: "card" }, muted("This node has no asset of this name.")));
  };
  const stopWaiting = on("node", open);
  open();
  return () => {
    stopWaiting();
    close();
  };
}

function openAsset(main, asset) {
  const now = element("div");
  const candles = newChart("candles", `Candles of ${asset}`);
  const each = newChart("lines", `${asset} on each exchange`);
  const sources = element("div", {}, muted("Asking the node."));
  const choice = element("select", { id: "granularity" },
    Object.entries(STEP_NAMES).map(([name, text]) => element("option", { value: name }, text)));
  main.append(now,
    card("Candles", "", element("p", { class: "choice" }, element("label", { for: "granularity" }, "One candle a"), choice),
      candles.box, candles.note, candles.data),
    card("Each exchange", "", each.box, each.note), card("Why this price", "", sources));

  const showNow = () => patch(now, nowOf(asset));
  const redraw = () => { candles.redraw(); each.redraw(); };
  let stopCandles = () => {};
  const drawCandles = () => {
    stopCandles();
    stopCandles = poll(CANDLES_EVERY_MS, candleTurn(asset, choice.value, candles));
  };
  let hasDatabase; // drawn anew when the database goes or comes
  const watch = () => {
    if (node === null || node.database === hasDatabase) return;
    hasDatabase = node.database;
    drawCandles();
  };
  choice.addEventListener("change", drawCandles);
  addEventListener("themechange", redraw);
  showNow();
  watch();
  const ends = [on("price", (event) => event.asset === asset && showNow()), on("link", showNow), on("node", watch),
    poll(POLL_MS, sourceTurn(asset, each, sources))];
  const timer = setInterval(showNow, POLL_MS / 4);
  return () => {
    ends.forEach((end) => end());
    stopCandles();
    clearInterval(timer);
    removeEventListener("themechange", redraw);
  };
}

// A picture, the sentence below it, and a table of its data; hidden while there is nothing to draw.
function newChart(id, label) {
  const box = element("div", { class: "chart", id, role: "img", "aria-label": label, hidden: true });
  const chart = { box, note: muted("Asking the node."), data: element("div"), label, traces: null, digits: 2 };
  chart.redraw = () => chart.traces && draw(box, chart.traces(), chart.digits).catch((error) => { chart.note.textContent = error.message; });
  return chart;
}

function nowOf(asset) {
  const event = prices.get(asset);
  if (event === undefined) return [muted("No news of this asset yet.")];
  const live = isLive(event), fresh = event.status === "fresh";
  const digits = digitsOf(event.price ?? event.last_price ?? 1);
  const timestamp = event.timestamp ?? event.last_timestamp;
  const state = !live ? badge("no news", "old") : fresh ? badge("fresh", "good") : badge(words(event.status), "bad");
  const passed = timestamp == null ? "never" : age(nodeNow() - timestamp);
  if (!fresh) return [element("div", { class: live ? "" : "old" }, tiles([["Price, USD", "refused"], ["Status", state],
    ["Why", event.error?.message ?? ""], ["Last good price", price(event.last_price, digits), timestamp == null ? "" : `${passed} old`]]))];
  return [element("div", { class: live ? "" : "old" }, tiles([["Price, USD", price(event.price, digits)], ["Status", state],
    ["Confidence", `± ${price(event.confidence, digits)}`], ["Sources", `${event.sources} of ${event.sources + event.rejected}`],
    ["Exchanges apart", `${event.disagreement_bps} bps`], ["Age", passed]]))];
}

const candleTurn = (asset, granularity, chart) => async (signal) => {
  if (node === null) return;
  if (!node.database) return showNoCandles(chart, "No candles while the database is away.");
  const to = Math.ceil(nodeNow()), from = to - CANDLE_HOURS[granularity] * 3_600_000;
  const query = new URLSearchParams({ asset, granularity, from: new Date(from).toISOString(), to: new Date(to).toISOString() });
  try {
    const found = (await get(`/history?${query}`, signal)).candles.filter((candle) => candle.close != null);
    if (signal.aborted) return;
    if (!found.length) return showNoCandles(chart, "No candle yet: the first one closes at the end of this minute.");
    showCandles(chart, asset, STEP_NAMES[granularity], found);
  } catch (error) {
    if (!signal.aborted) showNoCandles(chart, `No candles: ${error.message}`);
  }
};

function showNoCandles(chart, why) {
  chart.box.hidden = true;
  chart.traces = null;
  chart.note.textContent = why;
  patch(chart.data, []);
}

function showCandles(chart, asset, step, found) {
  const at = (candle) => candle.start.slice(0, 16).replace("T", " ");
  const of = (field) => found.map((candle) => candle[field]);
  const lows = Math.min(...of("low")), highs = Math.max(...of("high"));
  chart.digits = digitsOf(highs);
  chart.traces = () => [{ type: "candlestick", name: asset, x: found.map(at), open: of("open"), high: of("high"), low: of("low"),
    close: of("close"), increasing: { line: { color: colour("--up") } }, decreasing: { line: { color: colour("--down") } } }];
  chart.box.hidden = false;
  chart.box.setAttribute("aria-label", `${chart.label}, one a ${step}, ${at(found[0])} to ${at(found.at(-1))} UTC: `
    + `lowest ${price(lows, chart.digits)}, highest ${price(highs, chart.digits)}, last ${price(found.at(-1).close, chart.digits)} USD`);
  chart.note.textContent = `${found.length} candles, times in UTC. A time without a good price is a gap.`;
  const rows = [...found].reverse().map((candle) => [at(candle), ...["open", "high", "low", "close"].map((field) => price(candle[field], chart.digits))]);
  patch(chart.data, [element("details", {}, element("summary", {}, "The same as a table"),
    table(`Candles of ${asset}`, [["Begin, UTC", ""], ["Open", "number"], ["High", "number"], ["Low", "number"], ["Close", "number"]], rows))]);
  chart.redraw();
}

const sourceTurn = (asset, chart, into) => async (signal) => {
  try {
    const state = await get(`/node/asset?asset=${encodeURIComponent(asset)}`, signal);
    if (signal.aborted) return;
    remember(asset, state);
    showLines(asset, chart, state);
    patch(into, sourcesOf(asset, state));
  } catch (error) {
    if (!signal.aborted) patch(into, [element("p", { role: "alert" }, `No sources: ${error.message}`)]);
  }
};

function remember(asset, state) {
  const nowMs = nodeNow(), at = new Date(nowMs).toISOString().slice(0, 23).replace("T", " ");
  const series = lines.get(asset) ?? new Map();
  const wasAway = nowMs - series.lastMs > GAP_MS;
  series.lastMs = nowMs;
  const values = [...state.exchanges.map((source) => [source.exchange, source.price_usd]),
    ["consensus", state.status === "fresh" ? state.price : null]];
  for (const [name, value] of values) {
    const line = series.get(name) ?? { x: [], y: [] };
    for (const y of wasAway ? [null, value] : [value]) { line.x.push(at); line.y.push(y); }
    while (line.x.length > LINE_POINTS) { line.x.shift(); line.y.shift(); }
    series.set(name, line);
  }
  lines.set(asset, series);
}

function showLines(asset, chart, state) {
  chart.digits = digitsOf(state.price ?? state.last_price ?? 1);
  chart.traces = () => [...lines.get(asset)].map(([name, line], i) => ({ type: "scatter", mode: "lines", name, x: [...line.x], y: [...line.y],
    line: name === "consensus" ? { color: colour("--ink"), width: 3 } : { color: colour(LINE_COLOURS[i % LINE_COLOURS.length]), width: 1.5 } }));
  chart.box.hidden = false;
  chart.box.setAttribute("aria-label", `${chart.label}, in USD: `
    + state.exchanges.map((source) => `${source.exchange} ${price(source.price_usd)}`).join(", "));
  chart.note.textContent = "Since this page was opened, once a second, in USD; times in UTC. A gap: no good price.";
  chart.redraw();
}

function sourcesOf(asset, state) {
  const rows = state.exchanges.map((source) => [source.exchange, price(source.price), source.currency, price(source.price_usd),
    age(source.age_ms), source.via === "ws" ? "WebSocket" : source.via === "rest" ? "REST" : "none",
    badge(source.verdict == null ? "not judged" : words(source.verdict), VERDICT_LEVELS[source.verdict] ?? "warn")]);
  const left = `${state.rejected} left out`;
  return [muted(state.reason == null ? `${state.sources} used, ${left}; ${state.sources_required} are needed.` : `No price: ${state.reason}; ${left}.`),
    table(`Sources of ${asset}`, [["Exchange", ""], ["Its price", "number wide"], ["In", "wide"], ["In USD", "number"], ["Age", "number"],
      ["By", "wide"], ["Verdict", ""]], rows, "No exchange lists it.")];
}
