// Feeds for everyone; usage and the node's inside for the operator.

import { get } from "./client.js";
import { age, badge, bytes, card, count, element, facts, table } from "./format.js";

const POLL_MS = 1000;
const USAGE_POLL_MS = 5000;
const FEED_LEVELS = { ws: ["live", "good"], rest: ["REST alone", "warn"], down: ["down", "bad"] };

// Ask again and again while the view is shown; a failure is shown in its place, and asked again.
function polled(main, title, interval, load) {
  const content = element("div", {}, element("p", { class: "muted" }, "loading"));
  main.append(element("h1", {}, title), content);
  let shown = true;
  const turn = async () => {
    try {
      const children = await load();
      if (shown) content.replaceChildren(...children);
    } catch (error) {
      if (shown) content.replaceChildren(element("p", { role: "alert" }, error.message));
    }
  };
  turn();
  const timer = setInterval(turn, interval);
  return () => {
    shown = false;
    clearInterval(timer);
  };
}

// The same for the operator alone: without a session nothing is asked.
function polledByOperator(main, title, interval, load) {
  if (document.documentElement.dataset.admin === "true") return polled(main, title, interval, load);
  main.append(element("h1", {}, title), element("p", {}, "Log in as the operator to see this."));
  return () => {};
}

export function feedsView(main) {
  return polled(main, "Feeds", POLL_MS, async () => {
    const state = await get("/node");
    const cards = Object.entries(state.feeds).map(([exchange, feed]) => {
      const [text, level] = FEED_LEVELS[feed.status];
      const reasons = state.reasons.filter((reason) => reason.message.startsWith(exchange)).map((reason) => reason.message);
      const states = Object.entries(feed.rows_by_state).map(([name, rows]) => `${rows} ${name}`).join(", ");
      const made = card(exchange, level, element("p", {}, badge(text, level)),
        facts([["Newest quote", age(feed.newest_age_ms)], ["Markets", `${feed.rows}: ${states}`],
          ["WebSocket", feed.connected ? "connected" : "not connected"],
          ...(reasons.length ? [["Why", reasons.join("; ")]] : [])]));
      made.dataset.feed = exchange;
      made.dataset.level = level;
      return made;
    });
    const overall = state.reasons.length ? state.reasons.map((reason) => reason.message).join("; ") : "Everything delivers.";
    const coins = Object.entries(state.usd_indexes).map(([coin, usd]) => [`${coin} in USD`, usd == null ? "not measured" : usd.toFixed(5)]);
    return [element("p", {}, badge(state.status, { ok: "good", degraded: "warn", down: "bad" }[state.status]), " ", overall),
      element("div", { class: "grid" }, ...cards), card("Stablecoins", "", facts(coins))];
  });
}

export function usageView(main) {
  return polledByOperator(main, "Usage", USAGE_POLL_MS, async () => {
    const [summary, keys] = await Promise.all([get("/reports/summary"), get("/reports/top?by=key&limit=25")]);
    const latency = Object.entries(summary.latency_us).map(([name, us]) => [`Latency, ${name}`, us == null ? "none" : `${us} µs`]);
    return [card("Last 24 hours", "", facts([["Requests", count(summary.requests)], ["Prices looked up", count(summary.lookups)],
      ["Refused or failed", count(summary.errors)], ...latency])),
    bars("By key", keys.rows.map((row) => [row.group, row.requests])), bars("By asset, lookups", Object.entries(summary.top_assets)),
    bars("By protocol", Object.entries(summary.protocols)), bars("By status", Object.entries(summary.statuses))];
  });
}

function bars(title, pairs) {
  const most = Math.max(1, ...pairs.map(([, value]) => value));
  const rows = [...pairs].sort((a, b) => b[1] - a[1]).map(([name, value]) => [name || "none", count(value),
    element("div", { class: "bar", style: `width:${(100 * value / most).toFixed(1)}%` })]);
  return card(title, "", table(`${title}, last 24 hours`, [["Name", ""], ["Count", "number"], ["Share", "wide"]], rows));
}

export function nodeView(main) {
  return polledByOperator(main, "Node", POLL_MS, async () => {
    const state = await get("/node/inside");
    const ledger = state.ledger;
    const lines = ledger ? [["Waiting", `${count(ledger.lag_records)} records`], ["Rings", `${(100 * ledger.ring_share).toFixed(1)} % used`],
      ["Spool", bytes(ledger.spool_bytes)], ["Database", ledger.database_up ? "answers" : "does not answer"],
      ["Loaded", `${count(ledger.rows_loaded)} rows`], ["Lost", count(ledger.lost_detail + ledger.lost_records)]]
      : [["Flusher", "is not there"]];
    return [
      card("Ledger", ledger?.alarm === false ? "good" : "bad", facts(lines)),
      card("Today", "", facts(Object.entries(state.today ?? { figures: "not there yet" }).filter(([, value]) => typeof value !== "object")
        .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? count(value) : value]))),
      card("Processes", "", table("Processes", [["Name", ""], ["State", ""], ["Heartbeat", "number"], ["Restarts", "number"], ["PID", "number wide"]],
        state.processes.map((process) => [process.name, badge(process.alive ? "alive" : "silent", process.alive ? "good" : "bad"),
          age(process.heartbeat_age_ms), process.restarts, process.pid]))),
      card("Refused", "", facts(Object.entries(state.refusals).map(([code, requests]) => [code.replaceAll("_", " "), count(requests)]))),
      card("Blocked addresses", "", table("Blocks", [["Network", ""], ["Reason", ""], ["Until", ""]],
        (state.blocks ?? []).map((block) => [block.network, block.reason, block.expires_at ?? "unblocked"]))),
    ];
  });
}
