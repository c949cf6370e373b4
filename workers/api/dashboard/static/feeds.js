// Each exchange: whether it delivers, how fresh, and if not, why.

import { age, badge, card, element, facts, muted, patch } from "./format.js";
import { node, on } from "./live.js";

// Dead for whoever looks, although its last prices count until they are too old. By REST alone it is some 2 s.
const SILENT_MS = 3000;
const LEVELS = { ws: ["live", "good"], rest: ["REST alone", "warn"], down: ["down", "bad"], silent: ["silent", "bad"] };

export function feedsView(main) {
  const content = element("div", {}, muted("Asking the node."));
  main.append(element("h1", {}, "Feeds"), content);
  const show = (state) => patch(content, state === null
    ? [element("p", { role: "alert" }, "No news of the feeds: the node does not answer.")] : feedsOf(state));
  if (node !== null) show(node);
  return on("node", show);
}

function feedsOf(state) {
  const cards = Object.entries(state.feeds).map(([exchange, feed]) => feedCard(exchange, feed, state.reasons));
  const why = state.reasons.map((reason) => element("li", {}, reason.message));
  const level = { ok: "good", degraded: "warn", down: "bad" }[state.status];
  return [element("div", { class: "card" }, badge(state.status, level), " ", why.length ? "Something is missing:" : "Everything delivers.",
    why.length ? element("ul", {}, why) : ""), element("div", { class: "grid" }, cards)];
}

function feedCard(exchange, feed, reasons) {
  const isSilent = feed.newest_age_ms == null || feed.newest_age_ms > SILENT_MS;
  const [text, level] = LEVELS[feed.status !== "down" && isSilent ? "silent" : feed.status];
  const why = reasons.map((reason) => reason.message).filter((message) => message.startsWith(`${exchange} `));
  if (isSilent) why.push(feed.newest_age_ms == null ? "no quote ever" : `no quote for ${age(feed.newest_age_ms)}`);
  if (!feed.connected) why.push("the WebSocket is not connected");
  const states = Object.entries(feed.rows_by_state).map(([name, rows]) => `${rows} ${name}`).join(", ");
  const made = card([exchange, badge(text, level)], level,
    facts([["Newest quote", age(feed.newest_age_ms)], ["Markets", states],
      ["WebSocket", feed.connected ? "connected" : "not connected"], ...(why.length ? [["Why", why.join("; ")]] : [])]));
  made.dataset.feed = exchange;
  made.dataset.level = level;
  return made;
}
