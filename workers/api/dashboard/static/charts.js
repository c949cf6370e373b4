// Charts by plotly.js, which comes from this node and only when the first one is drawn: it is the only large file.
// Times are the node's, in UTC. A chart is a picture: its data stand in a table beside it.

import { element } from "./format.js";

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };

let plotly;

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = element("script", { src: "/static/plotly.min.js" });
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      plotly = undefined; // asked for again with the next chart
      reject(new Error("the chart library did not come"));
    };
    document.head.append(script);
  });
  return plotly;
}

export async function draw(into, traces, digits) {
  const library = await loadPlotly();
  if (into.isConnected && !into.hidden) await library.react(into, traces, layout(digits, into.clientWidth, traces.length > 1), CONFIG);
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function layout(digits, width, hasLegend) {
  const legendPx = !hasLegend ? 8 : width < 500 ? 92 : 32; // on a phone its names need four lines
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false, automargin: true };
  return {
    paper_bgcolor: colour("--card"), plot_bgcolor: colour("--card"),
    font: { color: colour("--muted"), family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("--card"), font: { color: colour("--ink") } }, hovermode: "x",
    margin: { l: 8, r: 8, t: legendPx, b: 8 }, showlegend: hasLegend,
    xaxis: { ...axis, type: "date", rangeslider: { visible: false }, nticks: Math.ceil(width / 130), tickangle: 0, tickformatstops: TICKS },
    yaxis: { ...axis, tickformat: `,.${digits}f`, nticks: 6 },
    legend: { orientation: "h", yref: "container", y: 1, yanchor: "top", x: 0 }, uirevision: "keep",
  };
}

const TICKS = [
  { dtickrange: [null, 999], value: "%H:%M:%S.%1f" },
  { dtickrange: [1000, 59_999], value: "%H:%M:%S" },
  { dtickrange: [60_000, 86_399_999], value: "%H:%M\n%-d %b" },
  { dtickrange: [86_400_000, null], value: "%-d %b" },
];
