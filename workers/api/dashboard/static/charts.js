// Charts for every view, drawn by TradingView's Lightweight Charts, which comes from this node and only with the first
// of them: it is the only large file.
//
//   const chart = newChart("candles", "Candles of BTC");  main.append(chart.root);
//   chart.draw(series, options);                          again whenever there is something new
//   chart.hide();  chart.remove();
//
// A series is {kind, name, colour, points}; a point has a `time` in ms and
//   "candles"  open, high, low, close
//   "bars"     value, and a `colour` of its own where it differs
//   "line"     value
//   "band"     low, high: the room between them is filled
// and no value at all where nothing is known: that is a gap, which no line crosses. All series of a chart share their
// times, since the library counts points and not seconds. Colours are names of the style sheet's. `limits` of a series
// are lines across: {value, name, colour}. Options: `format`, value -> text; `stepMs` between points, for the clock of
// the axis; `smallest` between values, 1 for what is counted: its axis begins at 0; `range`, a word: when it changes, or
// nobody has moved the chart, all of it is shown; `isOld`: all is grey.
// A chart is a picture: whoever does not see it needs its label, and its data in a table beside it.

import { clock, day, dayAndClock, element, price, zoneOffsetMs } from "./format.js";

const OLD = "--old";
const SECOND_STEPS_MS = 60_000; // below that, the clock of the axis has seconds
// The library moves a label away from the edge that would cut it where bars are narrower than half of so many letters.
const WHOLE_LABELS = { fixLeftEdge: true, tickMarkMaxCharacterLength: 13 };
const BAND_ALPHA = "33";
const TOP_MARGIN = 0.2, BOTTOM_MARGIN = 0.1; // of the height

let library;

const loadLibrary = () => {
  library ??= import("./vendor/lightweight-charts.standalone.production.mjs").catch(() => {
    library = undefined; // asked for again with the next chart
    throw new Error("The chart library did not come.");
  });
  return library;
};

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function newChart(id, label) {
  const box = element("div", { class: "chart", id, role: "img", "aria-label": label });
  const legend = element("p", { class: "legend", "aria-hidden": "true" });
  const root = element("div", { class: "figure" }, legend, box);
  const drawn = new Drawing(box, legend);
  return {
    root,
    box,
    label,
    hear: (text) => box.setAttribute("aria-label", text),
    draw: (series, options) => { root.hidden = false; return drawn.draw(series, options); },
    hide: () => { root.hidden = true; },
    remove: () => drawn.remove(),
  };
}

class Drawing {
  #box;
  #legend;
  #wanted = null; // [series, options], the newest
  #chart = null;
  #shown = new Map(); // "kind name" -> the library's series
  #offsetMs = 0; // of the zone: the library's axis counts days in UTC
  #isMoved = false;
  #range = null;
  #redraw = () => this.#wanted && this.#chart && this.#apply();

  constructor(box, legend) {
    this.#box = box;
    this.#legend = legend;
    for (const name of ["themechange", "formatchange"]) addEventListener(name, this.#redraw);
    for (const name of ["pointerdown", "wheel"]) box.addEventListener(name, () => { this.#isMoved = true; }, { passive: true });
    box.addEventListener("dblclick", () => { this.#isMoved = false; this.#redraw(); });
  }

  async draw(series, options = {}) {
    const isFirst = this.#wanted === null;
    this.#wanted = [series, options];
    if (this.#chart) return this.#apply();
    if (!isFirst) return undefined; // the one that waits for the library draws the newest
    const made = await loadLibrary().catch((error) => { this.#wanted = null; throw error; });
    if (this.#wanted === null) return undefined; // removed meanwhile
    this.library = made;
    this.#chart = made.createChart(this.#box, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif", panes: { enableResize: false } },
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false },
      timeScale: { timeVisible: true, minBarSpacing: 0.05, lockVisibleTimeRangeOnResize: true, ...WHOLE_LABELS },
    });
    this.#chart.subscribeCrosshairMove((at) => this.#showLegend(at));
    return this.#apply();
  }

  remove() {
    for (const name of ["themechange", "formatchange"]) removeEventListener(name, this.#redraw);
    this.#chart?.remove();
    this.#chart = this.#wanted = null;
  }

  #apply() {
    const [series, options] = this.#wanted;
    const newest = Math.max(...series.map((one) => one.points.at(-1)?.time ?? 0));
    this.#offsetMs = zoneOffsetMs(newest);
    this.#chart.applyOptions(this.#look(options));
    for (const [key, drawn] of this.#shown) {
      if (!series.some((one) => keyOf(one) === key)) { this.#chart.removeSeries(drawn.series); this.#shown.delete(key); }
    }
    for (const one of series) this.#fill(one, options);
    if (this.#range !== options.range) this.#isMoved = false;
    this.#range = options.range;
    if (!this.#isMoved) this.#chart.timeScale().fitContent();
    this.#box.dataset.series = series.length;
    this.#box.dataset.points = Math.max(0, ...series.map((one) => one.points.length));
    this.#box.classList.toggle("old", !!options.isOld);
    this.#showLegend({});
  }

  #fill(one, options) {
    const key = keyOf(one);
    if (!this.#shown.has(key)) this.#shown.set(key, { series: this.#add(one.kind), limits: [] });
    const drawn = this.#shown.get(key);
    const paint = colour(options.isOld ? OLD : one.colour ?? "--accent");
    drawn.one = one;
    drawn.paint = paint;
    drawn.series.applyOptions({ ...this.#paintOf(one.kind, paint, options), ...(one.width ? { lineWidth: one.width } : {}),
      autoscaleInfoProvider: isCounted(options) ? fromZero : undefined, lastValueVisible: !!one.isNamed, priceLineVisible: false, title: "",
      priceFormat: { type: "custom", formatter: options.format ?? price, minMove: options.smallest ?? 1e-8 } });
    drawn.series.setData(one.points.map((point) => this.#pointOf(one.kind, point, options)));
    drawn.limits.forEach((line) => drawn.series.removePriceLine(line));
    drawn.limits = (one.limits ?? []).map((limit) => drawn.series.createPriceLine({ price: limit.value, title: limit.name,
      color: colour(limit.colour ?? "--warn"), lineStyle: 2, lineWidth: 1, axisLabelVisible: true }));
  }

  #add(kind) {
    const { CandlestickSeries, HistogramSeries } = this.library;
    if (kind === "candles") return this.#chart.addSeries(CandlestickSeries);
    if (kind === "bars") return this.#chart.addSeries(HistogramSeries);
    return this.#chart.addCustomSeries(new Path(kind === "band", this.library.customSeriesDefaultOptions));
  }

  #paintOf(kind, paint, options) {
    if (kind !== "candles") return { color: paint };
    const [up, down] = options.isOld ? [paint, paint] : [colour("--up"), colour("--down")];
    return { upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false };
  }

  #pointOf(kind, point, options) {
    const time = Math.round((point.time + this.#offsetMs) / 1000);
    if (kind === "candles") return point.close == null ? { time } : { time, open: point.open, high: point.high, low: point.low, close: point.close };
    if (kind === "band") return point.low == null ? { time } : { time, low: point.low, high: point.high };
    if (point.value == null) return { time };
    return { time, value: point.value, ...(point.colour && !options.isOld ? { color: colour(point.colour) } : {}) };
  }

  #look(options) {
    const line = colour("--line");
    const seconds = (options.stepMs ?? SECOND_STEPS_MS) < SECOND_STEPS_MS;
    const at = (time) => time * 1000 - this.#offsetMs;
    const format = options.format ?? price;
    return {
      layout: { background: { color: colour("--card") }, textColor: colour("--muted") },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line, scaleMargins: { top: TOP_MARGIN, bottom: isCounted(options) ? 0 : BOTTOM_MARGIN } },
      timeScale: { borderColor: line, secondsVisible: seconds, tickMarkFormatter: (time, kind) => tick(at(time), kind, seconds) },
      crosshair: { horzLine: { labelBackgroundColor: colour("--accent-back") }, vertLine: { labelBackgroundColor: colour("--accent-back") } },
      localization: { timeFormatter: (time) => dayAndClock(at(time), seconds), priceFormatter: format },
    };
  }

  // Names with their colours, and the values below the pointer, else the newest ones.
  #showLegend(at) {
    const format = this.#wanted?.[1].format ?? price;
    const parts = [...this.#shown.values()].map(({ series, one, paint }) => {
      const point = at.seriesData?.get(series) ?? one.points.findLast((known) => (known.close ?? known.value ?? known.low) != null) ?? {};
      const swatch = element("i", {});
      swatch.style.background = one.kind === "candles" ? colour("--up") : paint;
      return element("span", {}, swatch, `${one.name} `, element("b", {}, valueOf(one.kind, point, format)));
    });
    this.#legend.replaceChildren(...parts);
  }
}

const isCounted = (options) => options.smallest === 1;

// Nothing was asked less than never: the library would leave room below, and write numbers there.
function fromZero(found) {
  const info = found();
  return info && { ...info, priceRange: { minValue: 0, maxValue: Math.max(1, info.priceRange?.maxValue ?? 1) } };
}

const keyOf = (one) => `${one.kind} ${one.name}`;

function valueOf(kind, point, format) {
  if (kind === "candles" && point.close != null) return `${format(point.open)} to ${format(point.close)}`;
  if (kind === "band" && point.low != null) return `${format(point.low)} to ${format(point.high)}`;
  return point.value == null ? "" : format(point.value);
}

// What stands below the axis: the library says of each mark whether a year, month, day or time begins there.
function tick(ms, kind, seconds) {
  if (kind <= 2) return day(ms + 3_600_000); // midnight may be an hour off, where the clock was changed since
  return clock(ms, seconds);
}

// A line that ends where nothing is known, or a band; the library's own lines go on to the next value.
class Path {
  constructor(isBand, defaults) {
    this.isBand = isBand;
    this.defaults = { ...defaults, lineWidth: 1.5 };
  }

  defaultOptions() { return this.defaults; }
  isWhitespace(point) { return point.value == null && point.low == null; }
  priceValueBuilder(point) { return this.isBand ? [point.low, point.high, point.high] : [point.value]; }
  renderer() { return this; }

  update(data, options) {
    this.data = data;
    this.options = options;
  }

  draw(target, yOf) {
    if (!this.data?.visibleRange) return;
    const from = Math.max(0, this.data.visibleRange.from - 1), to = this.data.visibleRange.to + 1;
    const runs = [];
    for (const bar of this.data.bars.slice(from, to)) {
      if (runs.length && bar.time - runs.at(-1).at(-1).time <= this.data.conflationFactor) runs.at(-1).push(bar);
      else runs.push([bar]);
    }
    target.useMediaCoordinateSpace(({ context }) => runs.forEach((run) => this.drawRun(context, run, yOf)));
  }

  drawRun(context, run, yOf) {
    context.beginPath();
    if (this.isBand) {
      run.forEach((bar) => context.lineTo(bar.x, yOf(bar.originalData.high)));
      run.toReversed().forEach((bar) => context.lineTo(bar.x, yOf(bar.originalData.low)));
      context.fillStyle = `${this.options.color}${BAND_ALPHA}`;
      context.fill();
      return;
    }
    run.forEach((bar) => context.lineTo(bar.x, yOf(bar.originalData.value)));
    context.strokeStyle = this.options.color;
    context.lineWidth = this.options.lineWidth;
    context.lineJoin = "round";
    if (run.length === 1) context.arc(run[0].x, yOf(run[0].originalData.value), 1, 0, 2 * Math.PI);
    context.stroke();
  }
}
