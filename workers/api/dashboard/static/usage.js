// What was asked in the last day, and how fast it was answered: of all keys for the operator, else of the own account.

import { get, poll } from "./client.js";
import { bars, card, columns, count, element, micros, muted, patch, share, statusName, tiles, words } from "./format.js";
import { node, nodeNow } from "./live.js";

const POLL_MS = 5000;
const AWAY_MS = 1000;
const KEYS_SHOWN = 25;

export function usageView(main, _, session) {
  const content = element("div", {}, muted("Asking the node."));
  main.append(element("h1", {}, "Usage"), content);
  if (session.kind === "anonymous") {
    patch(content, [element("div", { class: "card" }, muted("Usage belongs to a key. Log in with yours, or as the operator."))]);
    return () => {};
  }
  let askedAt = -POLL_MS;
  return poll(AWAY_MS, async (signal) => {
    if (node !== null && !node.database) {
      patch(content, [element("div", { class: "card" }, muted("Usage is not known while the database is away."))]);
      askedAt = -POLL_MS;
    } else if (node !== null && performance.now() - askedAt >= POLL_MS) {
      askedAt = performance.now();
      const shown = await load(session, signal).catch((error) => [element("p", { role: "alert" }, error.message)]);
      if (!signal.aborted) patch(content, shown);
    }
  });
}

async function load(session, signal) {
  const [summary, keys, hours] = await Promise.all([get("/reports/summary", signal),
    get(`/reports/top?by=key&limit=${KEYS_SHOWN}`, signal), get("/reports/usage?granularity=hour", signal)]);
  const of = session.kind === "admin" ? "all keys" : "your account";
  const latency = summary.latency_us;
  const byHour = new Map(hours.rows.map((row) => [row.start.slice(11, 13), row.requests]));
  const day = Array.from({ length: 24 }, (_, i) => new Date(nodeNow() - (23 - i) * 3_600_000).toISOString().slice(11, 13));
  const none = "Nothing was asked in the last 24 hours.";
  return [
    tiles([["Requests", count(summary.requests)], ["Prices looked up", count(summary.lookups)],
      ["Refused or failed", count(summary.errors), share(summary.errors, summary.requests)]]),
    card(`Last 24 hours, ${of}`, "", columns("Requests by hour, UTC", day.map((hour) => [`${hour}:00`, byHour.get(hour) ?? 0]))),
    card("Latency of answers", "", tiles([["Median", micros(latency.p50)], ["90 % within", micros(latency.p90)],
      ["99 % within", micros(latency.p99)], ["Mean", micros(latency.mean)]])),
    element("div", { class: "grid pairs" },
      card("By key", "", bars("Requests by key", "Key", keys.rows.map((row) => [row.group === "0" ? "without a key" : `key ${row.group}`, row.requests]), none)),
      card("By asset", "", bars("Prices looked up, by asset", "Asset", Object.entries(summary.top_assets), none)),
      card("By status", "", bars("Requests by status", "Status", Object.entries(summary.statuses).map(([status, requests]) => [statusName(status), requests]), none)),
      card("By protocol", "", bars("Requests by protocol", "Protocol", Object.entries(summary.protocols).map(([name, requests]) => [words(name), requests]), none))),
  ];
}
