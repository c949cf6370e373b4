// The node's inside, for the operator: what it runs and how well, and the lists of what they may change.

import { get, poll } from "./client.js";
import { age, badge, bars, bytes, card, columns, count, element, facts, micros, moment, muted, number, patch, statusName, table, tiles, UNKNOWN, words } from "./format.js";

const POLL_MS = 1000;
// What the operator changes is a part of the page that comes when it is asked for.
const LISTS = { keys: "Keys", plans: "Plans", accounts: "Accounts", blocks: "Blocks", audit: "Audit" };
const SAMPLES = 61; // a minute of looks
const CPU_SAMPLES = 6;
const DISK_TIGHT = 0.1;
const AWAY = "Not known while the database is away.";

export function nodeView(main, argument, session) {
  main.append(element("h1", {}, "Node"));
  if (session.kind !== "admin") {
    main.append(element("div", { class: "card" }, muted("The node's inside is for the operator: log in with the admin key.")));
    return () => {};
  }
  const tabs = ["", ...Object.keys(LISTS)].map((name) => element("a", { href: name ? `#/node/${name}` : "#/node",
    "aria-current": name === argument ? "page" : null }, LISTS[name] ?? "State"));
  main.append(element("nav", { class: "tabs", "aria-label": "Of the node" }, tabs));
  const content = element("div", {}, muted("Asking the node."));
  main.append(content);
  if (Object.hasOwn(LISTS, argument)) return openList(content, argument);
  const samples = [];
  return poll(POLL_MS, async (signal) => {
    const shown = await get("/node/inside", signal).then((state) => insideOf(state, samples)).catch((error) => [element("p", { role: "alert" }, error.message)]);
    if (!signal.aborted) patch(content, shown);
  });
}

function openList(content, name) {
  let isGone = false;
  let close = () => { isGone = true; };
  import("./administration/view.js").then(({ listView }) => { if (!isGone) close = listView(content, name); },
    () => patch(content, [element("p", { role: "alert" }, "This part of the page did not come: load it again.")]));
  return () => close();
}

function insideOf(state, samples) {
  samples.push(state);
  while (samples.length > SAMPLES) samples.shift();
  return [headTiles(state), workCard(state, samples[0]), ledgerCard(state.ledger), processCard(state, samples.at(-CPU_SAMPLES) ?? samples[0]),
    todayCard(state.today, state.latency_bounds_ns), limitCard(state.plans), refusalCard(state.refusals), blockCard(state.blocks)];
}

function headTiles(state) {
  const { disk } = state;
  const isTight = disk !== null && disk.free_bytes < DISK_TIGHT * disk.size_bytes;
  return tiles([["Version", state.version], ["Up for", age(state.time_ms - state.started_ms), `since ${moment(state.started_ms)}`],
    ["Disk left", disk === null ? UNKNOWN : bytes(disk.free_bytes), disk === null ? "" : `of ${bytes(disk.size_bytes)}${isTight ? ": it is nearly full" : ""}`],
    ["Database size", state.database_bytes === null ? UNKNOWN : bytes(state.database_bytes)],
    ["Requests kept", `${count(state.retention.detail_days)} days`, `sums by day ${count(state.retention.sums_months)} months`]]);
}

// What was done between two looks; totals that became smaller are of another start.
function workCard(state, before) {
  const seconds = (state.monotonic_ms - before.monotonic_ms) / 1000;
  const passed = (name) => state.work[name] - before.work[name];
  const rate = (name) => (seconds > 0 && passed(name) >= 0 ? number(passed(name) / seconds, passed(name) / seconds < 10 ? 1 : 0) : UNKNOWN);
  const counts = state.work.answer_counts.map((total, i) => total - before.work.answer_counts[i]);
  const answers = counts.reduce((sum, one) => sum + one, 0);
  const within = (part) => (answers > 0 ? withinOf(counts, state.latency_bounds_ns, part * answers) : "none");
  return card("Work", "", tiles([["Prices asked for", rate("lookups"), "a second"], ["Answers over HTTP", rate("http"), "a second"],
    ["Datagrams", rate("udp"), "a second"], ["Reports", rate("reports"), "a second"], ["Quotes in", rate("quotes"), "a second"],
    ["Half of the answers", within(0.5)], ["99 % of the answers", within(0.99)]]),
  muted(seconds < 1 ? "Measured since this page was opened." : `Over the last ${Math.round(seconds)} s. Times are from a readable socket to the answer's send.`));
}

function withinOf(counts, bounds, wanted) {
  let through = 0;
  const at = counts.findIndex((one) => (through += one) >= wanted);
  return at < bounds.length ? `≤ ${micros(bounds[at] / 1000)}` : `> ${micros(bounds.at(-1) / 1000)}`;
}

function ledgerCard(ledger) {
  if (ledger === null) return card("Usage ledger", "bad", element("p", {}, badge("away", "bad"), " The flusher makes no progress."));
  const lost = ledger.lost_detail + ledger.lost_records;
  const isWell = !ledger.alarm && ledger.database_up && ledger.spool_writable && !lost;
  return card("Usage ledger", isWell ? "good" : "bad", tiles([["Lag", `${ledger.lag_seconds.toFixed(1)} s`],
    ["Waiting", count(ledger.lag_records), "records"], ["Loaded", count(ledger.rows_loaded), "rows since the start"], ["Lost", count(lost), "records"]]),
  facts([["Database", ledger.database_up ? "takes records" : "takes none: they wait on disk"],
    ["Rings", `${(100 * ledger.ring_share).toFixed(1)} % used, ${(100 * ledger.ring_share_max).toFixed(1)} % at most`],
    ["Spool", `${bytes(ledger.spool_bytes)}, ${(100 * ledger.spool_share).toFixed(1)} % of its room${ledger.spool_writable ? "" : "; the disk refuses"}`]]));
}

function processCard(state, before) {
  const { processes } = state;
  const seconds = (state.monotonic_ms - before.monotonic_ms) / 1000;
  const silent = processes.filter((process) => !process.alive).length;
  const load = (process) => {
    const then = before.processes.find((other) => other.name === process.name && other.pid === process.pid);
    if (process.cpu_seconds === null || !then || then.cpu_seconds === null || seconds <= 0) return UNKNOWN;
    return `${number(Math.max(0, 100 * (process.cpu_seconds - then.cpu_seconds) / seconds), 0)} %`;
  };
  return card("Processes", silent ? "bad" : "good", table("Processes",
    [["Name", ""], ["State", ""], ["CPU", "number"], ["Memory", "number"], ["Restarts", "number"], ["Heartbeat", "number wide"], ["PID", "number wide"]],
    processes.map((process) => [process.name, process.failing ? badge("dies again and again", "bad") : badge(process.alive ? "alive" : "silent", process.alive ? "good" : "bad"),
      load(process), process.resident_bytes === null ? UNKNOWN : bytes(process.resident_bytes), count(process.restarts),
      process.kind === "supervisor" ? "none" : age(process.heartbeat_age_ms), process.pid])),
  muted("CPU of one core, over the last seconds. Memory counts what processes share in each of them."));
}

function todayCard(today, bounds) {
  if (today === null) return card("The day's figures", "", muted(AWAY));
  if (today.day === undefined) return card("The day's figures", "", muted("Not computed yet: the first come within a minute of the start."));
  const upTo = (i) => (i < bounds.length ? `up to ${micros(bounds[i] / 1000)}` : `over ${micros(bounds.at(-1) / 1000)}`);
  const hours = Array.from({ length: 24 }, (_, hour) => [`${String(hour).padStart(2, "0")}:00`, today.by_hour[hour] ?? 0]);
  const none = "Nothing was asked on this day.";
  return card(`The day's figures, ${today.day} in UTC`, "", tiles([["Requests", count(today.requests)], ["Prices looked up", count(today.lookups)],
    ["Refused", count(today.refused)], ["Unavailable", count(today.unavailable)], ["Mean latency", micros(today.mean_latency_ns / 1000)],
    ["Keys", count(today.keys)], ["Nodes", count(today.nodes)], ["Candles", count(today.candles)], ["Assets priced", count(today.assets_priced)]]),
  element("div", { class: "grid" }, columns("Requests by hour, UTC", hours),
    columns("Requests by latency", bounds.concat(Infinity).map((_, i) => [upTo(i), today.latency_buckets[i] ?? 0]))),
  element("div", { class: "grid" },
    bars("Requests of the day by protocol", "Protocol", Object.entries(today.by_protocol).map(([name, requests]) => [words(name), requests]), none),
    bars("Requests of the day by status", "Status", Object.entries(today.by_status).map(([status, requests]) => [statusName(status), requests]), none),
    bars("Prices looked up on the day by asset", "Asset", Object.entries(today.top_assets), none)),
  muted(`Computed ${moment(today.computed_at)}, once a minute.`));
}

function rate(plan) {
  return plan.rate_seconds === 1 ? `${count(plan.rate_requests)} a second` : `${count(plan.rate_requests)} in ${count(plan.rate_seconds)} s`;
}

function limitCard(plans) {
  if (plans === null) return card("Limits", "", muted(AWAY));
  return card(["Limits", element("a", { href: "#/node/plans" }, "Change")], "", table("Limits of the plans", [["Plan", ""], ["Rate", "number"], ["At once", "number"],
    ["Prices a month", "number"], ["Keys", "number"], ["Own limits", "number wide"], ["Over it", ""]],
  plans.map((plan) => [plan.name, plan.rate_requests ? rate(plan) : "no limit", plan.rate_requests ? count(plan.burst) : "no limit",
    plan.monthly_quota ? count(plan.monthly_quota) : "no limit", count(plan.keys), count(plan.own_limits),
    !plan.rate_requests && !plan.monthly_quota ? "nothing to refuse" : plan.dry_run ? badge("counted only", "warn") : badge("refused", "good")]), "There is no plan."));
}

function refusalCard(refusals) {
  return card("Refused since the start", "", facts(Object.entries(refusals).map(([code, requests]) => [words(code), count(requests)]), "facts many"));
}

function blockCard(blocks) {
  if (blocks === null) return card("Blocked addresses", "", muted(AWAY));
  return card(["Blocked addresses", element("a", { href: "#/node/blocks" }, "Change")], "", table("Blocked addresses", [["Network", ""], ["Reason", ""], ["Until", ""]],
    blocks.map((block) => [block.network, block.reason || "none given", block.expires_at ? moment(block.expires_at) : "unblocked by hand"]),
    "No address is blocked."));
}
