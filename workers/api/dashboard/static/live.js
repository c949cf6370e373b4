// What is true now: the stream of prices, the node's state, and the node's clock.
//
//   on("price", event)   an asset's newest event, kept in `prices`
//   on("link", state)    "off", "connecting", "live" or "lost"
//   on("node", state)    the newest answer of /node, null when it did not come
//
// A price is live while the stream it came with is: silence for QUIET_MS, or an error, and none is, until the stream
// was opened again and told it anew. The browser's clock is never believed: `nodeNow` is the latest time that the node
// ever named, plus what has passed here since.

import { get, poll } from "./client.js";

const QUIET_MS = 5000; // some price changes several times a second
const WATCH_MS = 250;
const NODE_POLL_MS = 1000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 10_000;

export const prices = new Map(); // asset -> event, with `heardAt`
const hub = new EventTarget();

export function on(name, callback) {
  const listener = (event) => callback(event.detail);
  hub.addEventListener(name, listener);
  return () => hub.removeEventListener(name, listener);
}

const tell = (name, detail) => hub.dispatchEvent(new CustomEvent(name, { detail }));

// --- the node's clock -------------------------------------------------------------------------------------------

let ahead = -Infinity; // of performance.now(); each message is a little late, so the largest difference is the best

function learnTime(nodeMs) {
  if (nodeMs != null) ahead = Math.max(ahead, nodeMs - performance.now());
}

export const nodeNow = () => ahead + performance.now();

// --- the stream -------------------------------------------------------------------------------------------------

export let link = "off";
let source = null;
let openedAt = 0;
let heardAt = 0;
let failures = 0;
let retry = null;
let timer;

export const isLive = (event) => link === "live" && event.heardAt >= openedAt;

function setLink(state) {
  if (link === state) return;
  link = state;
  tell("link", state);
}

// Opens the stream; `onLost` is called when it is time to try again, later each time, and never by all pages at once.
export function openStream(onLost) {
  closeStream();
  retry = onLost;
  if (failures === 0) setLink("connecting");
  ahead = -Infinity; // the node may have another clock by now
  openedAt = heardAt = performance.now();
  source = new EventSource("/stream/prices");
  source.addEventListener("price", (event) => take(JSON.parse(event.data)));
  source.addEventListener("heartbeat", hear);
  source.addEventListener("error", () => loseStream(onLost));
}

export function closeStream() {
  source?.close();
  source = null;
  clearTimeout(timer);
}

export function loseStream(onLost) {
  closeStream();
  setLink("lost");
  const most = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** failures++);
  timer = setTimeout(onLost, most * (0.5 + Math.random() / 2));
}

export function forget() {
  closeStream();
  failures = 0;
  prices.clear();
  setLink("off");
}

function hear() {
  heardAt = performance.now();
  failures = 0;
  setLink("live");
}

function take(price) {
  hear();
  learnTime(price.newest_timestamp ?? price.last_timestamp);
  price.heardAt = heardAt;
  prices.set(price.asset, price);
  tell("price", price);
}

// Silence means that the stream is lost, unless the node says at this moment that it has heard nothing either.
setInterval(() => {
  const isSilent = source !== null && performance.now() - heardAt > QUIET_MS;
  if (isSilent && (node === null || node.assets.some(hasNews))) loseStream(retry);
}, WATCH_MS);

const hasNews = (asset) => asset.age_ms != null && asset.age_ms < QUIET_MS / 2;

// --- the node's state -------------------------------------------------------------------------------------------

export let node = null;
let stopPoll = () => {};

export function watchNode(onRefused) {
  unwatchNode();
  stopPoll = poll(NODE_POLL_MS, async (signal) => {
    const state = await get("/node", signal).catch((error) => {
      if (error.status === 401 || error.status === 403) onRefused();
      return null;
    });
    if (signal.aborted) return;
    node = state;
    learnTime(node?.time_ms);
    tell("node", node);
  });
}

export function unwatchNode() {
  stopPoll();
  node = null;
}
