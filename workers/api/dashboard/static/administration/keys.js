// API keys: made, looked at, limited, replaced, suspended, revoked.

import { get, post } from "../client.js";
import { badge, element, facts, moment, muted, table } from "../format.js";
import { openForm, openMember, showSecret } from "./form.js";
import { LIMIT_FIELDS, button, entered, finder, has, limitText, listCard, nothing, rateText, rateValue } from "./pieces.js";

const LISTED_MAX = 1000;
const LEVELS = { active: "good", suspended: "warn", revoked: "bad", expired: "bad" };
const PATH = "/administration/keys";
const pathOf = (key, act) => `${PATH}/${key.id}/${act}`;

async function load(signal) {
  const [{ keys }, { plans }] = await Promise.all([get(`${PATH}?count=${LISTED_MAX}`, signal), get("/administration/plans", signal)]);
  return { keys, plans };
}

function show({ keys }, state) {
  if (!keys.length) {
    return [listCard("Keys", "", nothing("There is no key yet. A key belongs to a customer, and is held to a plan.",
      button("create", "", "Make the first key", "primary")))];
  }
  const found = keys.filter((key) => has(state.find, key.account, key.name, key.prefix, key.plan, key.state, key.id));
  const rows = found.map((key) => [button("manage", key.id, `${key.prefix}…`, "link"), key.account, key.name,
    key.plan + (key.own_limits ? " *" : ""), rateText(key), limitText(key.monthly_quota), badge(key.state, LEVELS[key.state])]);
  return [listCard("Keys", button("create", "", "New key", "primary"), finder("Find", state.find),
    table("Keys", [["Key", ""], ["Customer", ""], ["Name", "wide"], ["Plan", "wide"], ["Rate", "number wide"], ["A month", "number"], ["State", ""]],
      rows, "No key is like that."),
    muted(`${found.some((key) => key.own_limits) ? "* with limits of its own. " : ""}${keys.length === LISTED_MAX ? `The newest ${LISTED_MAX} are shown.` : ""}`))];
}

const planChoices = (plans, first) => [...first, ...plans.map((plan) => [plan.name, plan.name])];

function create(_, { plans }, { reload }) {
  openForm({
    title: "New key", action: "Make the key",
    fields: [
      { name: "account", label: "Customer", required: true, help: "Made when there is none of this name" },
      { name: "plan", label: "Plan", value: "free", choices: planChoices(plans, []) },
      { name: "name", label: "Name", help: "What the customer uses it for" },
      { name: "expires", label: "Lifetime", help: "90d, 2w, 12h; empty: no end" },
      { name: "email", label: "E-mail", type: "email", help: "Where to reach a new customer" },
    ],
    submit: async (values) => {
      const made = await post(PATH, entered(values));
      reload();
      setTimeout(() => showSecret(made.api_key, `The key of ${made.key.account}`)); // when this dialog is gone
    },
  });
}

function manage(id, { keys, plans }, { reload }) {
  const key = keys.find((one) => String(one.id) === id);
  const isOver = key.state === "revoked" || key.state === "expired";
  const acts = isOver ? [] : [
    ["Limits", () => limit(key, plans, reload)], ["Rotate", () => rotate(key, reload)],
    key.state === "active" ? ["Suspend", () => setState(key, "suspend", reload)] : ["Resume", () => setState(key, "resume", reload)],
    ["Revoke", () => revoke(key, reload), "danger"],
  ];
  openMember([`Key ${key.id}`, badge(key.state, LEVELS[key.state])], [facts([
    ["Begins with", key.prefix], ["Customer", key.account], ["Name", key.name || "none"],
    ["Plan", key.plan, key.dry_run ? "dry run: nothing is refused for its limits" : ""],
    ["Rate", `${rateText(key)}${key.rate_requests ? `, ${key.burst} at once` : ""}`], ["A month", limitText(key.monthly_quota)],
    ["Limits", key.own_limits ? "some are its own" : "its plan's"], ["Until", key.expires_at ? moment(key.expires_at) : "no end"],
    ...(key.replaced_by ? [["Replaced by", `key ${key.replaced_by}`]] : []), ["Created", moment(key.created_at)], ["Changed", moment(key.changed_at)]])], acts);
}

function limit(key, plans, reload) {
  const own = (field, value) => (key.own_limits ? value : "");
  openForm({
    title: `Limits of key ${key.id}`, action: "Set the limits",
    intro: [muted("Empty: what its plan has.")],
    fields: [{ name: "plan", label: "Plan", value: key.plan, choices: planChoices(plans, []) },
      { ...LIMIT_FIELDS.rate, value: own("rate", rateValue(key)) }, { ...LIMIT_FIELDS.burst, value: own("burst", key.burst) },
      { ...LIMIT_FIELDS.quota, value: own("quota", key.monthly_quota) }],
    submit: async (values) => {
      await post(pathOf(key, "limit"), { rate: null, burst: null, quota: null, ...entered(values, "burst", "quota") });
      reload();
    },
  });
}

function rotate(key, reload) {
  openForm({
    title: `Rotate key ${key.id}`, action: "Make the new key",
    intro: [muted("A new key with the same plan and limits takes its place; the old one works for a while longer.")],
    fields: [{ name: "grace", label: "The old one works for", value: "24h", help: "24h, 7d; 0 revokes it at once, for good" },
      { name: "confirm", label: "Only with 0", help: `Type ${key.prefix} to confirm that it is revoked at once` }],
    submit: async (values) => {
      const made = await post(pathOf(key, "rotate"), entered(values));
      reload();
      setTimeout(() => showSecret(made.api_key, `The new key of ${made.key.account}`));
    },
  });
}

function setState(key, act, reload) {
  const [title, does] = { suspend: ["Suspend", "It is refused until it is resumed."], resume: ["Resume", "It may ask again."] }[act];
  openForm({
    title: `${title} key ${key.id} of ${key.account}`, action: `${title} it`, intro: [muted(does)],
    submit: async () => {
      await post(pathOf(key, act), {});
      reload();
    },
  });
}

function revoke(key, reload) {
  openForm({
    title: `Revoke key ${key.id} of ${key.account}`, action: "Revoke it for good", danger: true,
    intro: [element("p", {}, "It is refused from now on, forever: there is no way back.")],
    fields: [{ name: "confirm", label: `Type ${key.prefix} to confirm`, confirm: key.prefix }],
    submit: async (values) => {
      await post(pathOf(key, "revoke"), values);
      reload();
    },
  });
}

export const keyList = { load, show, acts: { create, manage } };
