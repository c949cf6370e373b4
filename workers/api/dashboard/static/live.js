// What is true now: the stream of rows, the node's state, and the node's clock.
//
//   on("rows", names)    these assets have news, kept in `rows`; each second, also when there is none
//   on("link", state)    "off", "connecting", "live" or "lost"
//   on("node", state)    the newest answer of /node, null when it did not come
//   show(names)          the assets that are on the screen: no others are sent
//
// A row is live while the stream that it came with is: silence for QUIET_MS, or an error, and none is, until the stream
// was opened again and told it anew. The browser's clock is never believed: `nodeNow` is the latest time that the node
// ever named, plus what has passed here since.

import { get, poll } from "./client.js";

const QUIET_MS = 5000; // something comes each second
const WATCH_MS = 250;
const NODE_POLL_MS = 1000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 10_000;
const SETTLE_MS = 150; // whoever scrolls shows other rows with each frame

export const rows = new Map(); // asset -> {status, price, ...}: all fields as they were told last
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
let next = null; // takes the place of `source` with its first rows, so that nothing turns grey between them
let told = new Set(); // assets of the stream that is live
let wanted = null; // names, null: all
let heardAt = 0;
let failures = 0;
let retry = null;
let timer, settling;

export const isLive = (asset) => link === "live" && told.has(asset);

function setLink(state) {
  if (link === state) return;
  link = state;
  tell("link", state);
}

export function show(names) {
  wanted = names;
  clearTimeout(settling);
  const isOpen = source !== null;
  if (!isOpen || names.every((name) => told.has(name)) && names.length > told.size / 2) return;
  settling = setTimeout(() => { if (source) begin(); }, link === "live" ? SETTLE_MS : 0);
}

function begin() {
  next?.close();
  const opened = new EventSource(wanted?.length ? `/stream/rows?assets=${wanted.map(encodeURIComponent).join(",")}` : "/stream/rows");
  let isFirst = true;
  next = opened;
  opened.addEventListener("rows", (event) => {
    if (isFirst) {
      isFirst = false;
      if (source !== opened) source?.close();
      source = opened;
      next = null;
      told = new Set();
    }
    take(JSON.parse(event.data));
  });
  opened.addEventListener("error", () => loseStream(retry));
}

// Opens the stream; `onLost` is called when it is time to try again, later each time, and never by all pages at once.
export function openStream(onLost) {
  closeStream();
  retry = onLost;
  if (failures === 0) setLink("connecting");
  ahead = -Infinity; // the node may have another clock by now
  heardAt = performance.now();
  wanted = null; // all rows anew, none is left grey; who scrolls on says again what is on the screen
  begin();
  source = next;
}

export function closeStream() {
  source?.close();
  next?.close();
  source = next = null;
  told = new Set();
  clearTimeout(timer);
  clearTimeout(settling);
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
  rows.clear();
  setLink("off");
}

function take({ time, rows: changes }) {
  heardAt = performance.now();
  failures = 0;
  learnTime(time);
  for (const change of changes) {
    rows.set(change.asset, { ...rows.get(change.asset), ...change });
    told.add(change.asset);
  }
  setLink("live");
  tell("rows", changes.map((change) => change.asset));
}

setInterval(() => {
  if (source !== null && performance.now() - heardAt > QUIET_MS) loseStream(retry);
}, WATCH_MS);

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
