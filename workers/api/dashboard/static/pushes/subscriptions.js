// Subscriptions to prices: who gets them where and when, how the receivers fare, and what may be done with one.

import { get, post, send } from "../client.js";
import { count, element, facts, moment, muted, table } from "../format.js";
import { openForm, openMember, showSecret } from "../administration/form.js";
import { button, entered, listCard, nothing } from "../administration/pieces.js";
import { runOrder, showDeliveries } from "./deliveries.js";
import { stateOf } from "./state.js";

const PATH = "/subscriptions";
const NUMBERS = ["interval_s", "deviation_bps", "heartbeat_s", "max_age_ms", "min_sources"];
const SECRET_NOTE = "Messages are signed with it. Whoever has it can forge them.";
const COLUMNS = [["Subscription", ""], ["Target", "words"], ["Assets", "number"], ["When", "words"], ["State", "words"], ["Last arrived", "wide"], ["", "number"]];

const load = (signal) => get(`${PATH}?limit=1000`, signal);
const pathOf = (one, act) => `${PATH}/${one.id}${act ? `/${act}` : ""}`;

function show({ subscriptions, next }, { isOperator }) {
  const make = button("create", "", "New subscription", "primary");
  if (!subscriptions.length) return [listCard("Subscriptions", "", nothing("Nothing is pushed yet. A subscription sends signed prices to your own address, every few seconds or when they move.", make))];
  const columns = isOperator ? [COLUMNS[0], ["Customer", ""], ...COLUMNS.slice(1)] : COLUMNS;
  const rows = subscriptions.map((one) => [one.name || `number ${one.id}`, ...(isOperator ? [one.account] : []), one.target,
    count(one.assets.length), whenText(one), stateOf(one), moment(one.last_success_at), button("manage", one.id, "Manage")]);
  return [listCard("Subscriptions", make, table("Subscriptions", columns, rows), next ? muted("The first thousand: the command line lists the others.") : "")];
}

const whenText = (one) => [one.interval_s && `every ${one.interval_s} s`, one.deviation_bps && `moves of ${one.deviation_bps} bps`,
  one.heartbeat_s && `at least every ${one.heartbeat_s} s`].filter(Boolean).join(", ");

const fieldsOf = (one = {}) => [
  { name: "target", label: "Target", value: one.target, required: true, help: "A URL of HTTPS with its path, or udp://host:port" },
  { name: "assets", label: "Assets", value: one.assets?.join(", "), required: true, help: "BTC, ETH, ..." },
  { name: "name", label: "Name", value: one.name },
  { name: "interval_s", label: "Every so many seconds", value: one.interval_s || "", inputmode: "numeric", help: "3 to 60; empty: not by the clock" },
  { name: "deviation_bps", label: "When a price moves by", value: one.deviation_bps || "", inputmode: "numeric", help: "Hundredths of a percent; empty: not by moves" },
  { name: "heartbeat_s", label: "At least every", value: one.heartbeat_s || "", inputmode: "numeric", help: "Seconds; empty: no heartbeat" },
  { name: "max_age_ms", label: "Oldest price", value: one.max_age_ms || "", inputmode: "numeric", help: "Milliseconds; empty: as for lookups" },
  { name: "min_sources", label: "Fewest exchanges", value: one.min_sources || "", inputmode: "numeric", help: "1 to 6; empty: as for lookups" },
];

function bodyOf(values) {
  const body = entered(values, ...NUMBERS);
  if (body.assets !== undefined) body.assets = body.assets.split(/[\s,]+/).filter(Boolean);
  return body;
}

function create(_, __, { reload, state }) {
  openForm({
    title: "New subscription", action: "Make it",
    fields: [...(state.isOperator ? [{ name: "account", label: "Customer", required: true, help: "The name of an account" }] : []), ...fieldsOf({ interval_s: 10 })],
    submit: async (values) => {
      const made = await post(PATH, bodyOf(values));
      reload();
      setTimeout(() => showSecret(made.secret, `The secret of subscription ${made.subscription.id}`, "Secret", SECRET_NOTE));
    },
  });
}

function manage(id, { subscriptions }, { reload, state }) {
  const one = subscriptions.find((found) => String(found.id) === id);
  const acts = [
    ["Test", () => runOrder(`Test of subscription ${one.id}`, one, () => post(pathOf(one, "test"), {}))],
    ["Deliveries", () => showDeliveries(one)], ["Change", () => change(one, reload)],
    one.state === "active" ? ["Pause", () => setState(one, "pause", reload)] : ["Resume", () => setState(one, "resume", reload)],
    ["Replay", () => replay(one)], ["Rotate", () => rotate(one, reload)],
    ...(state.isOperator ? [] : [["Secret", () => secret(one)]]), ["Delete", () => remove(one, reload), "danger"],
  ];
  openMember([`Subscription ${one.id} `, stateOf(one)], [facts([
    ["Name", one.name || "none"], ["Customer", one.account], ["Target", one.target], ["Assets", one.assets.join(", ")], ["When", whenText(one)],
    ...(one.disabled_reason ? [["Disabled", one.disabled_reason, moment(one.disabled_at)]] : []),
    ...(one.failing_since ? [["Failing since", moment(one.failing_since), `${one.failures} times: ${one.last_error ?? "no answer"}`], ["Next try", moment(one.next_at)]] : []),
    ["Last arrived", moment(one.last_success_at)], ["Last sequence", one.last_sequence ?? "none"], ["Created", moment(one.created_at)]])], acts);
}

function change(one, reload) {
  openForm({
    title: `Change subscription ${one.id}`, action: "Change it", intro: [muted("Empty numbers are off.")], fields: fieldsOf(one),
    submit: async (values) => {
      await send("PATCH", pathOf(one), { name: "", ...Object.fromEntries(NUMBERS.map((name) => [name, 0])), ...bodyOf(values) });
      reload();
    },
  });
}

function setState(one, act, reload) {
  const [title, does] = { pause: ["Pause", "Nothing is sent until it is resumed."], resume: ["Resume", "Messages are sent again, with the prices of then."] }[act];
  openForm({
    title: `${title} subscription ${one.id}`, action: `${title} it`, intro: [muted(does)],
    submit: async () => { await post(pathOf(one, act), {}); reload(); },
  });
}

function rotate(one, reload) {
  openForm({
    title: `New secret of subscription ${one.id}`, action: "Make the new secret",
    intro: [muted("Messages are signed with both for a while: a receiver that knows either misses none.")],
    fields: [{ name: "grace", label: "The old one signs for", value: "24h", help: "24h, 7d; 0: it ends at once" }],
    submit: async (values) => {
      const made = await post(pathOf(one, "rotate"), values);
      reload();
      setTimeout(() => showSecret(made.secret, `The new secret of subscription ${one.id}`, "Secret", SECRET_NOTE));
    },
  });
}

async function secret(one) {
  const found = await get(pathOf(one, "secret"));
  showSecret(found.secret, `The secret of subscription ${one.id}`, "Secret", SECRET_NOTE);
}

function replay(one) {
  openForm({
    title: `Replay what subscription ${one.id} missed`, action: "Replay it",
    intro: [muted("The closes of the minutes since then, as messages of their own. At most a day.")],
    fields: [{ name: "minutes", label: "Minutes ago", value: "60", required: true, inputmode: "numeric", help: "1 to 1440" }],
    submit: async ({ minutes }) => {
      const since = new Date(Date.now() - Number(minutes) * 60_000).toISOString();
      const made = await post(pathOf(one, "replay"), { since });
      setTimeout(() => runOrder(`Replay of subscription ${one.id}`, one, async () => made));
    },
  });
}

function remove(one, reload) {
  const name = one.name || String(one.id);
  openForm({
    title: `Delete subscription ${one.id}`, action: "Delete it for good", danger: true,
    intro: [element("p", {}, "Nothing is sent to its target any more: there is no way back.")],
    fields: [{ name: "confirm", label: `Type ${name} to confirm`, confirm: name }],
    submit: async () => { await send("DELETE", pathOf(one)); reload(); },
  });
}

export const subscriptionList = { load, show, acts: { create, manage } };
