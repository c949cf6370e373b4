// What the last day was for each asset, by the node's own candles: asked for once, then each minute, while anybody looks.
//
//   days.get("BTC")      {name, price_24h, high_24h, low_24h}; figures are null where no price is stored from then
//   watchDay(callback)   called whenever there is something newer; returns what ends it

import { get, poll } from "./client.js";
import { node } from "./live.js";

const POLL_MS = 60_000;
const AGAIN_MS = 5000; // after a failure, and until there is a database

export const days = new Map();

export function watchDay(callback) {
  let askedAt = -Infinity;
  return poll(AGAIN_MS, async (signal) => {
    if (performance.now() - askedAt < POLL_MS) return;
    const found = await get("/node/day", signal).catch(() => null);
    if (found === null || signal.aborted) return;
    for (const { asset, ...day } of found.assets) days.set(asset, day);
    if (node?.database) askedAt = performance.now();
    callback();
  });
}

export const nameOf = (asset) => days.get(asset)?.name ?? "";

// In percent, against the price of a day ago.
export function changeOf(asset, price) {
  const then = days.get(asset)?.price_24h;
  return then && price != null ? 100 * (price / then - 1) : null;
}
