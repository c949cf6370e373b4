// What was asked, how fast it was answered, and what is left of the month: of a customer, or for the operator of all or one.
// The page costs nothing of the month, and can be read when that is spent.

import { newChart } from "./charts.js";
import { get, poll } from "./client.js";
import { badge, bars, card, count, dayAndClock, element, micros, moment, muted, patch, share, statusName, table, tiles, words } from "./format.js";
import { node, nodeNow } from "./live.js";
import { DAY_MS, daysFrom, levelOf, monthName, monthOf, monthStart } from "./month.js";

const POLL_MS = 5000;
const AWAY_MS = 1000;
const HOUR_MS = 3_600_000;
const SHOWN = 25; // keys and customers
const MONTHS = 12;
const FORMATS = { csv: "CSV", xlsx: "Excel", parquet: "Parquet" };

// What is chosen stays while other views are shown.
let range = "24h";
let account = "";

export function view(main, argument, session) {
  main.append(element("h1", {}, "Usage"));
  if (session.kind === "anonymous") {
    main.append(element("div", { class: "card" }, muted("Usage belongs to a key. Log in with yours, or as the operator.")));
    return () => {};
  }
  const seesAll = session.kind !== "key";
  account = seesAll ? argument : "";
  const parts = skeleton(seesAll);
  main.append(parts.bar, parts.failure, parts.content);
  let stop = () => {};
  const start = () => {
    stop();
    let askedAt = -POLL_MS;
    stop = poll(AWAY_MS, async (signal) => {
      if (node === null && session.may_read) return;
      const isThere = node?.database ?? true; // who bills does not see the node: the reports say themselves that it is away
      if (isThere && performance.now() - askedAt < POLL_MS) return;
      askedAt = isThere ? performance.now() : -POLL_MS;
      const failure = isThere ? await load(parts, session, signal).then(() => "", (error) => error.message)
        : "Usage is not known while the database is away.";
      if (signal.aborted) return;
      parts.failure.textContent = failure;
      parts.failure.hidden = failure === "";
      parts.content.hidden = failure !== "" && !parts.isFilled;
    });
  };
  parts.range.addEventListener("change", () => { range = parts.range.value; start(); });
  parts.account.addEventListener("change", () => { location.hash = parts.account.value ? `#/usage/${parts.account.value}` : "#/usage"; });
  start();
  return () => {
    stop();
    parts.month.remove();
    parts.time.remove();
  };
}

function skeleton(seesAll) {
  const choice = (id, label, select) => element("span", { class: "pick" }, element("label", { for: id }, label), select);
  const view = {
    range: element("select", { id: "range" }),
    account: element("select", { id: "account" }),
    failure: element("p", { class: "strip warn", role: "status" }, "Asking the node."),
    links: element("span", { class: "pick" }),
    month: newChart("month", "Use of this month"), time: newChart("time", "Use over time"),
    isFilled: false,
  };
  for (const name of ["monthTiles", "monthNote", "timeTiles", "timeNote", "timeTable", "parts"]) view[name] = element("div");
  view.monthTitle = element("span");
  view.monthWarning = element("p", { role: "status", hidden: true });
  view.monthState = element("span");
  view.timeTitle = element("span");
  view.bar = element("div", { class: "toolbar" }, choice("range", "Time", view.range),
    seesAll ? choice("account", "Customer", view.account) : "", view.links);
  view.content = element("div", { hidden: true },
    card([view.monthTitle, view.monthState], "", view.monthWarning, view.monthTiles, view.month.root, view.monthNote),
    card(view.timeTitle, "", view.timeTiles, view.time.root, view.timeNote, view.timeTable), view.parts);
  return view;
}

// --- what is asked ----------------------------------------------------------------------------------------------

const day = (ms) => new Date(ms).toISOString().slice(0, 10);

// [name, text, from in ms, granularity, end in ms or null for now]
function rangesOf(nowMs) {
  const hour = nowMs - (nowMs % HOUR_MS), today = nowMs - (nowMs % DAY_MS);
  const months = Array.from({ length: MONTHS }, (_, i) => monthStart(nowMs, -i));
  return [["24h", "Last 24 hours", hour - 23 * HOUR_MS, "hour", null], ["7d", "Last 7 days", hour - 167 * HOUR_MS, "hour", null],
    ["30d", "Last 30 days", today - 29 * DAY_MS, "day", null],
    ...months.map((start, i) => [monthName(start), i ? monthName(start) : `This month, ${monthName(start)}`, start, "day", i ? monthStart(start, 1) : null])];
}

async function load(view, session, signal) {
  const nowMs = node === null ? Date.now() : nodeNow(), ranges = rangesOf(nowMs);
  const [, text, from, granularity, to] = ranges.find(([name]) => name === range) ?? ranges[0];
  const of = account ? { account } : {};
  const span = { from: new Date(from).toISOString(), ...(to ? { to: new Date(to).toISOString() } : {}), tz: "UTC", ...of };
  const query = (path, more) => get(`/reports/${path}?${new URLSearchParams({ ...span, ...more })}`, signal);
  const seesAll = session.kind !== "key";
  const own = seesAll ? of : { key: session.key_id }; // a limit is a key's
  const [accounts, summary, times, keys, customers, days, limit] = await Promise.all([
    seesAll ? get("/reports/accounts", signal).then((found) => found.rows) : [],
    query("summary", {}), query("usage", { granularity }), query("top", { by: "key", limit: SHOWN }),
    seesAll && !account ? query("top", { by: "account", limit: SHOWN }).then((found) => found.rows) : null,
    get(`/reports/usage?${new URLSearchParams({ ...own, granularity: "day", tz: "UTC", from: day(daysFrom(nowMs)) })}`, signal),
    seesAll ? limitOf(session, signal) : get("/account", signal)]);
  if (signal.aborted) return;
  view.isFilled = true;
  view.content.hidden = false; // before anything is drawn: what is hidden has no width
  patch(view.range, ranges.map(([name, label]) => element("option", { value: name }, label)));
  view.range.value = range;
  patch(view.account, [element("option", { value: "" }, "All customers"), ...accounts.map((one) => element("option", { value: one.account_id }, one.account))]);
  view.account.value = account;
  patch(view.links, linksOf({ ...span, granularity }, seesAll && to !== null ? range : null));
  const month = monthOf(new Map(days.rows.map((row) => [Date.parse(row.start), row.billable])), nowMs);
  if (seesAll) showMonth(view, month, limit, nowMs, account ? "" : "all customers");
  else showMonth(view, { ...month, used: limit.month?.used ?? month.used }, limit.limits?.month ?? null, nowMs, `key ${limit.name || limit.key_id}`);
  showTime(view, text, summary, times.rows, { from, to: to ?? nowMs, granularity });
  patch(view.parts, partsOf(summary, keys.rows, customers));
}

// Of the month: the sum of what the customer's keys may have; null where one of them has no limit, or nobody is chosen.
async function limitOf(session, signal) {
  if (session.kind !== "admin" || !account) return null;
  const { rows } = await get("/reports/accounts", signal);
  const name = rows.find((one) => String(one.account_id) === account)?.account;
  if (name === undefined) return null;
  const { keys } = await get(`/administration/keys?${new URLSearchParams({ account: name, count: 1000 })}`, signal);
  const active = keys.filter((key) => key.state === "active");
  if (!active.length || active.some((key) => !key.monthly_quota)) return null;
  return active.reduce((sum, key) => sum + key.monthly_quota, 0);
}

// The chosen time by key; of a month that is over, also every customer's bill.
function linksOf(span, month) {
  const files = (path, query) => Object.entries(FORMATS).flatMap(([format, name]) => [" ",
    element("a", { href: `/reports/${path}?${new URLSearchParams({ ...query, format })}`, download: true }, name)]);
  return ["Download", ...files("usage", { ...span, group_by: "key" }), ...(month ? [" · Bills", ...files("billing", { month })] : [])];
}

// --- what is shown ----------------------------------------------------------------------------------------------

function showMonth(view, month, limit, nowMs, whose) {
  const [word, level] = levelOf(month.used, limit);
  view.monthTitle.textContent = `This month, ${monthName(nowMs)}${whose ? `, ${whose}` : ""}`;
  patch(view.monthState, limit ? [badge(word, level)] : []);
  const spent = { bad: "The month is spent: prices are refused until it begins anew. This page and reports go on.",
    warn: "More than 80 % of the month is used." }[level];
  view.monthWarning.hidden = !limit || !spent;
  view.monthWarning.textContent = spent ?? "";
  view.monthWarning.className = `strip ${level}`;
  const leads = month.forecast === null ? "after a whole day" : count(month.forecast);
  patch(view.monthTiles, [tiles([["Used", count(month.used), limit ? share(month.used, limit) : ""], ...(limit ? [["Limit", count(limit)], ["Left", count(Math.max(0, limit - month.used))]] : []),
    ["Forecast", leads, limit && month.forecast !== null ? share(month.forecast, limit) : ""], ["Begins anew", dayAndClock(monthStart(nowMs, 1))]])]);
  const points = (value) => month.byDay.map((one) => ({ time: one.time, value: value(one) }));
  const series = [{ kind: "line", name: "used", colour: "--accent", width: 3, points: points((one) => one.used) }];
  if (month.forecast !== null) series.push({ kind: "line", name: "forecast", colour: "--line-2", points: points((one) => one.forecast) });
  if (limit) series.push({ kind: "line", name: "limit", colour: "--bad", points: points(() => limit) });
  view.month.hear(`Use of ${monthName(nowMs)} by day: ${count(month.used)} used${limit ? ` of ${count(limit)}` : ""}, forecast ${leads}`);
  view.month.draw(series, { format: (value) => count(Math.round(value)), stepMs: DAY_MS, smallest: 1, range: monthName(nowMs) });
  const how = month.forecast === null ? "There is a forecast once there is a whole day." : "Forecast: what is used so far, and for the rest of the month"
    + ` the mean of the last ${month.meanDays === 1 ? "whole day" : `${month.meanDays} whole days`}.`;
  patch(view.monthNote, [muted(`Months and their days are those of UTC, as the limits'. Answers with a price count; errors and this page do not. ${how}`)]);
}

function showTime(view, text, summary, rows, { from, to, granularity }) {
  const step = granularity === "hour" ? HOUR_MS : DAY_MS;
  const by = new Map(rows.map((row) => [Date.parse(row.start), row]));
  const starts = Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step);
  view.timeTitle.textContent = text;
  patch(view.timeTiles, [tiles([["Requests", count(summary.requests)], ["Prices answered", count(summary.billable)],
    ["Refused or failed", count(summary.errors), share(summary.errors, summary.requests)],
    ["Median", micros(summary.latency_us.p50)], ["90 % within", micros(summary.latency_us.p90)],
    ["99 % within", micros(summary.latency_us.p99)], ["Mean", micros(summary.latency_us.mean)]])]);
  if (!summary.requests) {
    view.time.hide();
    patch(view.timeNote, [muted("Nothing was asked in this time. "),
      element("p", {}, element("a", { href: "/docs" }, "How to ask for a price"))]);
    return patch(view.timeTable, []);
  }
  const points = (value) => starts.map((time) => ({ time, value: value(by.get(time)) }));
  view.time.hear(`Requests by ${granularity}: ${[...by].map(([time, row]) => `${moment(time)} ${count(row.requests)}`).join(", ")}`);
  view.time.draw([{ kind: "bars", name: "requests", colour: "--accent", points: points((row) => row?.requests ?? 0) },
    { kind: "bars", name: "refused or failed", colour: "--bad", points: points((row) => row?.errors ?? 0) }],
  { format: (value) => count(Math.round(value)), stepMs: step, smallest: 1, range: `${range} ${account}` });
  patch(view.timeNote, [muted(`Requests by ${granularity}${granularity === "day" ? " of UTC" : ""}.`)]);
  patch(view.timeTable, [element("details", {}, element("summary", {}, "The same as a table"),
    table("Use over time", [["Begin", ""], ["Requests", "number"], ["Prices", "number"], ["Refused or failed", "number"], ["Mean", "number"]],
      [...rows].reverse().map((row) => [granularity === "day" ? row.start.slice(0, 10) : moment(row.start), count(row.requests), count(row.lookups),
        count(row.errors), micros(row.latency_mean_us)])))]);
}

function partsOf(summary, keys, customers) {
  const none = "Nothing was asked in this time.";
  const by = (title, caption, name, pairs) => card(title, "", bars(caption, name, pairs, none));
  const nameOf = (row) => (row.group === "0" ? "without a key" : customers === null ? row.name : `${row.account}: ${row.name}`);
  return [element("div", { class: "grid pairs" },
    ...(customers === null ? [] : [by("By customer", "Requests by customer", "Customer", customers.map((row) => [row.account ?? "without a key", row.requests]))]),
    by("By key", "Requests by key", "Key", keys.map((row) => [nameOf(row), row.requests])),
    by("By asset", "Prices looked up, by asset", "Asset", Object.entries(summary.top_assets)),
    by("By status", "Requests by status", "Status", Object.entries(summary.statuses).map(([status, requests]) => [statusName(status), requests])),
    by("By protocol", "Requests by protocol", "Protocol", Object.entries(summary.protocols).map(([name, requests]) => [words(name), requests])))];
}
