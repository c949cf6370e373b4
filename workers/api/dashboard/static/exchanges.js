// Each exchange of an asset against the consensus, in hundredths of a percent (bps): lines since the page was opened, and
// a table that says of each whether it counts, and if not, why.

import { newChart } from "./charts.js";
import { get, poll } from "./client.js";
import { age, badge, bps, card, element, muted, number, patch, price, table, words } from "./format.js";
import { link, nodeNow, on } from "./live.js";

const POLL_MS = 1000;
const LINE_POINTS = 600; // ten minutes
const GAP_MS = 3000; // without a look at the exchanges: nobody knows what was between
const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];
const BPS = 10_000;

const WHY = {
  disputed: "the exchanges disagree: no one of them counts",
  unused: "good, but there are too few with it",
  no_quote: "it has sent no price",
  nonpositive_price: "its price is not above zero",
  crossed_book: "its buyers bid more than its sellers ask",
  wide_spread: "its buyers and sellers are too far apart",
  stale: "its price is too old",
  stale_exchange_time: "its own clock says that its price is too old",
  future_exchange_time: "its own clock is ahead",
  frozen: "its price stands still while the others move",
  no_index: "there is no rate to turn its currency into USD",
  outlier: "too far from the others",
  held_out: "it was far from the others, and has to agree with them for a while first",
  one_sided_book: "it has only buyers or only sellers",
  last_off_book: "its last price is not between its buyers and sellers",
};
const LEVELS = { used: ["good", ""], disputed: ["bad", "≠"], outlier: ["bad", "✕"] };

const kept = new Map(); // asset -> {lastMs, lines: exchange -> points, band}; lives on while other views are shown

export function exchangesPart(asset) {
  const chart = newChart("lines", `${asset} on each exchange`);
  const note = muted("Asking the node."), sources = element("div");
  let newest = null;
  const draw = () => newest && showLines(asset, chart, note, newest);
  const stop = poll(POLL_MS, async (signal) => {
    try {
      const state = await get(`/node/asset?asset=${encodeURIComponent(asset)}`, signal);
      if (signal.aborted) return;
      newest = withBps(state);
      remember(asset, newest);
      draw();
      patch(sources, sourcesOf(asset, newest));
    } catch (error) {
      if (!signal.aborted && !newest) patch(sources, [element("p", { role: "alert" }, `No exchanges: ${error.message}`)]);
    }
  });
  const ends = [stop, on("link", () => { draw(); if (newest) patch(sources, sourcesOf(asset, newest)); }), () => chart.remove()];
  return {
    root: element("div", {}, card("Each exchange, against the consensus", "", chart.root, note), card("Why this price", "", sources)),
    close: () => ends.forEach((end) => end()),
  };
}

// The measure is the consensus; where there is none, the middle of the exchanges.
function withBps(state) {
  const values = state.exchanges.map((source) => source.price_usd).filter((value) => value != null).sort((a, b) => a - b);
  const middle = values.length ? (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2 : null;
  const hasPrice = state.status === "fresh" && state.price != null, measure = hasPrice ? state.price : middle;
  const exchanges = state.exchanges.map((source) => ({ ...source,
    bps: source.price_usd == null || !measure ? null : BPS * (source.price_usd / measure - 1) }));
  return { ...state, hasPrice, exchanges };
}

function remember(asset, state) {
  const nowMs = nodeNow(), time = Math.round(nowMs / 1000) * 1000;
  const of = kept.get(asset) ?? { lines: new Map(), band: [], lastMs: nowMs };
  const wasAway = nowMs - of.lastMs > GAP_MS;
  of.lastMs = nowMs;
  kept.set(asset, of);
  const add = (points, point) => {
    if (wasAway && points.length && time - points.at(-1).time > POLL_MS) points.push({ time: time - POLL_MS });
    if (points.at(-1)?.time !== time) points.push({ time, ...point });
    while (points.length > LINE_POINTS) points.shift();
  };
  const sure = state.hasPrice ? state.confidence_bps : null;
  add(of.band, sure == null ? {} : { low: -sure, high: sure });
  for (const source of state.exchanges) {
    if (!of.lines.has(source.exchange)) of.lines.set(source.exchange, of.band.slice(0, -1).map((point) => ({ time: point.time })));
    add(of.lines.get(source.exchange), { value: source.bps });
  }
}

const signed = (value) => (value == null ? "none" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${bps(Math.abs(value))}`);

function showLines(asset, chart, note, state) {
  const { lines, band } = kept.get(asset), isOld = link === "lost";
  chart.hear(`${chart.label}, in bps from ${state.hasPrice ? "the consensus" : "their middle"}: `
    + state.exchanges.map((source) => `${source.exchange} ${signed(source.bps)}`).join(", "));
  note.textContent = isOld ? "No connection: these lines have ended."
    : state.hasPrice ? "In bps (hundredths of a percent) from the consensus, once a second since the page was opened. The band is its confidence; a gap is no good price."
      : "There is no consensus now: in bps from the middle of the exchanges.";
  const series = [...lines].map(([name, points], i) => ({ kind: "line", name, points, colour: COLOURS[i % COLOURS.length] }));
  chart.draw([{ kind: "band", name: "consensus", points: band, colour: "--muted",
    limits: [{ value: 0, name: state.hasPrice ? "consensus" : "middle", colour: "--muted" }] }, ...series], { format: signed, stepMs: POLL_MS, isOld })
    .catch((error) => { note.textContent = error.message; });
}

function verdictOf(source) {
  if (source.verdict == null) return badge("not judged", "old", "?");
  const [level, sign] = LEVELS[source.verdict] ?? ["warn", "!"];
  const why = WHY[source.verdict] ?? "";
  return element("div", { class: "verdict" }, badge(words(source.verdict), level, sign),
    why ? element("small", {}, source.verdict === "outlier" && source.bps != null ? `${why}: ${signed(source.bps)} bps` : why) : "");
}

function sourcesOf(asset, state) {
  const rows = state.exchanges.map((source) => [source.exchange, price(source.price), source.currency, price(source.price_usd), signed(source.bps),
    age(source.age_ms), source.via === "ws" ? "WebSocket" : source.via === "rest" ? "REST" : "none", verdictOf(source)]);
  const left = `${number(state.rejected)} left out`;
  return [muted(state.reason == null ? `${number(state.sources)} used, ${left}; ${number(state.sources_required)} are needed.` : `No price: ${state.reason}; ${left}.`),
    element("div", { class: link === "lost" ? "old" : "" }, table(`Sources of ${asset}`, [["Exchange", ""], ["Its price", "number wide"], ["In", "wide"],
      ["In USD", "number wide"], ["bps", "number"], ["Age", "number"], ["By", "wide"], ["Verdict", ""]], rows, "No exchange lists it."))];
}
