// One asset: its price, candles, each exchange's own line, and why each source counts or not.

import { get, poll } from "./client.js";
import { newChart } from "./charts.js";
import { age, badge, card, dayAndClock, digitsOf, element, muted, patch, price, table, tiles, words } from "./format.js";
import { isLive, node, nodeNow, on, prices } from "./live.js";

const CANDLE_HOURS = { "1m": 3, "5m": 12, "1h": 24 * 7, "1d": 24 * 90 };
const STEP_MS = { "1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000 };
const STEP_NAMES = { "1m": "minute", "5m": "5 minutes", "1h": "hour", "1d": "day" };
const LINE_POINTS = 600; // ten minutes
const POLL_MS = 1000;
const GAP_MS = 3000; // without a look at the exchanges: nobody knows what was between
const CANDLES_EVERY_MS = 15_000;
const LINE_COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];

// Of a refused price no source is good news.
const VERDICT_LEVELS = { used: "good", disputed: "bad" };

const lines = new Map(); // asset -> exchange -> points; lives on while other views are shown

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
  const candles = newFigure("candles", `Candles of ${asset}`);
  const each = newFigure("lines", `${asset} on each exchange`);
  const sources = element("div", {}, muted("Asking the node."));
  const choice = element("select", { id: "granularity" },
    Object.entries(STEP_NAMES).map(([name, text]) => element("option", { value: name }, text)));
  main.append(now,
    card("Candles", "", element("p", { class: "choice" }, element("label", { for: "granularity" }, "One candle a"), choice),
      candles.chart.root, candles.note, candles.data),
    card("Each exchange", "", each.chart.root, each.note), card("Why this price", "", sources));

  const showNow = () => patch(now, nowOf(asset));
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
  showNow();
  watch();
  const ends = [on("price", (event) => event.asset === asset && showNow()), on("link", showNow), on("node", watch),
    poll(POLL_MS, sourceTurn(asset, each, sources))];
  const timer = setInterval(showNow, POLL_MS / 4);
  return () => {
    ends.forEach((end) => end());
    stopCandles();
    clearInterval(timer);
    candles.chart.remove();
    each.chart.remove();
  };
}

// A picture, the sentence below it, and a table of its data; hidden while there is nothing to draw.
function newFigure(id, label) {
  const figure = { chart: newChart(id, label), note: muted("Asking the node."), data: element("div") };
  figure.draw = (series, options) => figure.chart.draw(series, options).catch((error) => { figure.note.textContent = error.message; });
  return figure;
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
    showCandles(chart, asset, granularity, found);
  } catch (error) {
    if (!signal.aborted) showNoCandles(chart, `No candles: ${error.message}`);
  }
};

function showNoCandles(chart, why) {
  chart.chart.hide();
  chart.note.textContent = why;
  patch(chart.data, []);
}

function showCandles(figure, asset, granularity, found) {
  const step = STEP_NAMES[granularity], stepMs = STEP_MS[granularity];
  const at = (candle) => Date.parse(candle.start);
  const lows = Math.min(...found.map((candle) => candle.low)), highs = Math.max(...found.map((candle) => candle.high));
  const digits = digitsOf(highs), format = (value) => price(value, digits);
  const byTime = new Map(found.map((candle) => [at(candle), candle]));
  const points = [];
  for (let time = at(found[0]); time <= at(found.at(-1)); time += stepMs) points.push({ ...byTime.get(time), time });
  figure.chart.hear(`${figure.chart.label}, one a ${step}, ${dayAndClock(at(found[0]))} to ${dayAndClock(at(found.at(-1)))}: `
    + `lowest ${format(lows)}, highest ${format(highs)}, last ${format(found.at(-1).close)} USD`);
  figure.note.textContent = `${found.length} candles. A time without a good price is a gap.`;
  const rows = [...found].reverse().map((candle) => [dayAndClock(at(candle)), ...["open", "high", "low", "close"].map((field) => format(candle[field]))]);
  patch(figure.data, [element("details", {}, element("summary", {}, "The same as a table"),
    table(`Candles of ${asset}`, [["Begin", ""], ["Open", "number"], ["High", "number"], ["Low", "number"], ["Close", "number"]], rows))]);
  figure.draw([{ kind: "candles", name: asset, points }], { format, stepMs, range: granularity });
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
  const nowMs = nodeNow(), time = Math.round(nowMs / 1000) * 1000;
  const series = lines.get(asset) ?? new Map();
  const wasAway = nowMs - series.lastMs > GAP_MS;
  series.lastMs = nowMs;
  const values = [...state.exchanges.map((source) => [source.exchange, source.price_usd]),
    ["consensus", state.status === "fresh" ? state.price : null]];
  for (const [name, value] of values) {
    const line = series.get(name) ?? [];
    if (wasAway && line.length && time - line.at(-1).time > POLL_MS) line.push({ time: time - POLL_MS });
    if (line.at(-1)?.time !== time) line.push({ time, value });
    while (line.length > LINE_POINTS) line.shift();
    series.set(name, line);
  }
  lines.set(asset, series);
}

function showLines(asset, figure, state) {
  const digits = digitsOf(state.price ?? state.last_price ?? 1);
  figure.chart.hear(`${figure.chart.label}, in USD: `
    + state.exchanges.map((source) => `${source.exchange} ${price(source.price_usd)}`).join(", "));
  figure.note.textContent = "Since this page was opened, once a second, in USD. A gap: no good price.";
  figure.draw([...lines.get(asset)].map(([name, points], i) => ({ kind: "line", name, points,
    ...(name === "consensus" ? { colour: "--ink", width: 3 } : { colour: LINE_COLOURS[i % LINE_COLOURS.length] }) })),
  { format: (value) => price(value, digits), stepMs: POLL_MS });
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
