// All nodes of the cluster, for the operator: what each tells of itself every second, out of the cache that they share.

import { get, poll } from "./client.js";
import { age, badge, bytes, card, count, element, muted, number, patch, share, table, tiles, UNKNOWN } from "./format.js";

const POLL_MS = 2000;
const REFUSALS = { refused_access: "key or address", refused_rate: "over a rate", refused_quota: "over a month", refused_load: "no room" };
const LEVELS = { ok: "good", degraded: "warn", down: "bad" };

export function view(main, argument, session) {
  main.append(element("h1", {}, "Cluster"));
  if (session.kind !== "admin") {
    main.append(element("div", { class: "card" }, muted("The cluster is for the operator: log in with the admin key.")));
    return () => {};
  }
  const content = element("div", {}, muted("Asking the node."));
  main.append(content);
  return poll(POLL_MS, async (signal) => {
    const shown = await get("/cluster", signal).then(clusterOf).catch((error) => [element("p", { role: "alert" }, error.message)]);
    if (!signal.aborted) patch(content, shown);
  });
}

function clusterOf(state) {
  if (state.cache === "off") return [element("div", { class: "card" }, muted(`${state.reason}.`))];
  if (state.cache === "down") {
    return [card("Nodes", "bad", element("p", {}, badge("cache away", "bad"), ` ${state.reason}.`),
      muted("Each node goes on with its own share of all limits. What the nodes do is known again once the cache answers."))];
  }
  return [headTiles(state.nodes), nodeCard(state), loadCard(state.nodes), lagCard(state.nodes), refusalCard(state.nodes)];
}

const sum = (nodes, name) => nodes.reduce((total, node) => total + node.counters[name], 0);

function headTiles(nodes) {
  const leader = nodes.find((node) => node.leads);
  const versions = [...new Set(nodes.map((node) => node.version))];
  const hits = sum(nodes, "table_hits");
  return tiles([["Nodes", count(nodes.length)], ["Leads", leader ? leader.node : UNKNOWN, "does what is done once"],
    ["Requests", number(nodes.reduce((total, node) => total + node.requests_per_second, 0)), "a second"],
    ["Connections", count(sum(nodes, "connections"))], ["From the table", share(hits, hits + sum(nodes, "table_misses")), "of all lookups"],
    ["Version", versions.length === 1 ? versions[0] : "mixed", versions.length > 1 ? versions.join(", ") : ""]]);
}

function nodeCard({ nodes, time_ms: now }) {
  const isWell = nodes.length > 0 && nodes.every((node) => node.status === "ok");
  return card("Nodes", isWell ? "good" : "warn", table("Nodes",
    [["Node", ""], ["State", ""], ["Leads", ""], ["Requests/s", "number"], ["Type", "wide"], ["Version", "wide"], ["Up for", "number wide"], ["Heard", "number wide"]],
    nodes.map((node) => [node.node, badge(node.status, LEVELS[node.status] ?? "warn"), node.leads ? "leads" : "", number(node.requests_per_second),
      node.server_type, node.version, age(Math.max(0, now - node.started_ms)), `${age(node.age_ms)} ago`]),
    "No node has told of itself within the last ten seconds."));
}

function loadCard(nodes) {
  return card("Load", "", table("Load",
    [["Node", ""], ["Connections", "number"], ["HTTP", "number"], ["Datagrams", "number"], ["Reports", "number wide"], ["Deliveries", "number wide"], ["CPU time", "number wide"], ["Memory", "number wide"]],
    nodes.map(({ node, counters: of }) => [node, count(of.connections), count(of.http_requests), count(of.udp_requests), count(of.report_requests),
      count(of.deliveries), age(of.cpu_ms), bytes(of.memory_bytes)])),
  muted("Totals are since each node's start. Memory counts what processes share in each of them."));
}

function lagCard(nodes) {
  return card("Prices and lags", "", table("Prices and lags",
    [["Node", ""], ["Fresh", "number"], ["Feeds", "number"], ["Lag", "number"], ["Waiting", "number wide"], ["Ring", "number wide"], ["Spool", "number wide"], ["Lost", "number wide"], ["Cache errors", "number wide"]],
    nodes.map(({ node, counters: of }) => [node, `${of.fresh_assets} of ${of.fresh_assets + of.stale_assets}`, `${of.feeds_up} of ${of.feeds_up + of.feeds_down}`,
      `${(of.ledger_lag_ms / 1000).toFixed(1)} s`, count(of.ledger_lag_records), `${(of.ring_per_mille / 10).toFixed(1)} %`, bytes(of.spool_bytes),
      count(of.usage_lost), count(of.cache_errors)])));
}

function refusalCard(nodes) {
  return card("Turned away", "", table("Turned away", [["Node", ""], ...Object.values(REFUSALS).map((name) => [name, "number"])],
    nodes.map(({ node, counters: of }) => [node, ...Object.keys(REFUSALS).map((name) => count(of[name]))])));
}
