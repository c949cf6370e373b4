// One asset: candles, each exchange's own line, and why each source counts or not.

import { get, listen, prices } from "./client.js";
import { age, badge, card, element, facts, price, table } from "./format.js";

const CANDLE_HOURS = { "1m": 3, "5m": 12, "1h": 24 * 7, "1d": 24 * 90 };
const LINE_POINTS = 300;
const POLL_MS = 1000;
const CANDLES_EVERY_MS = 15_000;

let plotly; // loaded once, when the first chart is wanted: it is the only large file

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = element("script", { src: "/static/plotly.min.js" });
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return plotly;
}

function layout() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  return {
    paper_bgcolor: colour("--card"), plot_bgcolor: colour("--card"), font: { color: colour("--ink") },
    margin: { l: 8, r: 8, t: 8, b: 8 }, xaxis: { ...axis, type: "date", rangeslider: { visible: false } }, yaxis: axis,
    legend: { orientation: "h" }, uirevision: "keep",
  };
}

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };

export function assetView(main, asset) {
  const now = element("p", { class: "muted" });
  const candles = element("div", { class: "chart", id: "candles", role: "img", "aria-label": `Candles of ${asset}` });
  const lines = element("div", { class: "chart", id: "lines", role: "img", "aria-label": `${asset} on each exchange` });
  const sources = element("div");
  const gaps = element("p", { class: "muted" });
  const choice = element("select", { id: "granularity" },
    ...Object.keys(CANDLE_HOURS).map((name) => element("option", { value: name }, name)));
  main.append(element("h1", {}, asset), now,
    card("Candles", "", element("p", {}, element("label", { for: "granularity" }, "One candle a "), choice), candles, gaps),
    card("Each exchange", "", lines), card("Why this price", "", sources));

  const series = new Map();
  const show = (event) => event.asset === asset && showNow(now, event);
  const stop = listen(show);
  if (prices.has(asset)) show(prices.get(asset));
  const drawCandles = () => candlesOf(asset, choice.value, candles, gaps);
  const poll = () => pollExchanges(asset, series, lines, sources);
  const redraw = () => { drawCandles(); drawLines(series, lines); };
  choice.addEventListener("change", drawCandles);
  addEventListener("themechange", redraw);
  drawCandles();
  poll();
  const timers = [setInterval(poll, POLL_MS), setInterval(drawCandles, CANDLES_EVERY_MS)];
  return () => {
    stop();
    timers.forEach(clearInterval);
    removeEventListener("themechange", redraw);
  };
}

function showNow(now, event) {
  const fresh = event.status === "fresh";
  now.replaceChildren(
    element("strong", { "data-price": true }, fresh ? `${price(event.price)} USD` : "refused"), " ",
    badge(event.status, fresh ? "good" : "bad"), " ",
    fresh ? `± ${price(event.confidence)}, ${event.sources} sources, ${event.disagreement_bps} bps apart` : event.error?.message ?? "");
}

async function candlesOf(asset, granularity, into, gaps) {
  const to = new Date(), from = new Date(to - CANDLE_HOURS[granularity] * 3_600_000);
  const query = new URLSearchParams({ asset, granularity, from: from.toISOString(), to: to.toISOString() });
  try {
    const history = await get(`/history?${query}`);
    const found = history.candles.filter((candle) => candle.close != null);
    const trace = { type: "candlestick", name: asset, x: found.map((c) => c.start) };
    for (const field of ["open", "high", "low", "close"]) trace[field] = found.map((c) => Number(c[field]));
    await (await loadPlotly()).react(into, [trace], layout(), CONFIG);
    gaps.textContent = found.length ? `${found.length} candles; a time without a good price is a gap.`
      : "No candle yet: the first one closes at the end of this minute.";
  } catch (error) {
    gaps.textContent = `No candles: ${error.message}`;
  }
}

async function pollExchanges(asset, series, lines, sources) {
  try {
    const state = await get(`/node/asset?asset=${encodeURIComponent(asset)}`);
    const at = new Date();
    for (const source of state.exchanges) {
      const line = series.get(source.exchange) ?? { x: [], y: [] };
      line.x.push(at);
      line.y.push(source.price_usd);
      if (line.x.length > LINE_POINTS) { line.x.shift(); line.y.shift(); }
      series.set(source.exchange, line);
    }
    sources.replaceChildren(
      facts([["Rule", `${state.sources_required} sources at least, ${state.sources} used, ${state.rejected} left out`]]),
      table(`Sources of ${asset}`,
        [["Exchange", ""], ["Price", "number"], ["In", ""], ["Age", "number"], ["Via", "wide"], ["Verdict", ""]],
        state.exchanges.map((source) => [source.exchange, price(source.price), source.currency, age(source.age_ms), source.via,
          badge(source.verdict ?? "none", source.verdict === "used" ? "good" : "warn")])));
    await drawLines(series, lines);
  } catch (error) {
    sources.replaceChildren(element("p", { role: "alert" }, `No sources: ${error.message}`));
  }
}

async function drawLines(series, into) {
  const traces = [...series].map(([name, line]) => ({ type: "scatter", mode: "lines", name, ...line }));
  await (await loadPlotly()).react(into, traces, layout(), CONFIG);
}
