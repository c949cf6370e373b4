// Plans: what customers are held to. A change reaches every key that is on it.

import { get, post } from "../client.js";
import { badge, count, muted, table } from "../format.js";
import { openForm } from "./form.js";
import { LIMIT_FIELDS, button, entered, limitText, listCard, rateText, rateValue } from "./pieces.js";

const PATH = "/administration/plans";

const load = (signal) => get(PATH, signal);

const overIt = (plan) => {
  if (!plan.rate_requests && !plan.monthly_quota) return "nothing to refuse";
  return plan.dry_run ? badge("counted only", "warn") : badge("refused", "good");
};

function show({ plans }) {
  const rows = plans.map((plan) => [button("change", plan.name, plan.name, "link"), rateText(plan),
    plan.rate_requests ? count(plan.burst) : "no limit", limitText(plan.monthly_quota), count(plan.keys), overIt(plan)]);
  return [listCard("Plans", button("create", "", "New plan", "primary"),
    table("Plans", [["Plan", ""], ["Rate", "number"], ["At once", "number wide"], ["A month", "number"], ["Keys", "number"], ["Over it", "wide"]], rows),
    muted("A change reaches all keys of a plan at once, but for limits of their own."))];
}

const DRY_RUN = { name: "dry_run", label: "Dry run", type: "checkbox", help: "What would be refused for its limits is only counted" };

function create(_, __, { reload }) {
  openForm({
    title: "New plan", action: "Make the plan",
    fields: [{ name: "plan", label: "Name", required: true }, { ...LIMIT_FIELDS.rate, required: true }, { ...LIMIT_FIELDS.burst, required: true },
      { ...LIMIT_FIELDS.quota, required: true }, DRY_RUN],
    submit: ({ plan, ...values }) => set(plan, values, reload),
  });
}

function change(name, { plans }, { reload }) {
  const plan = plans.find((one) => one.name === name);
  openForm({
    title: `Plan ${name}`, action: "Change the plan", intro: [muted(`${count(plan.keys)} keys follow at once.`)],
    fields: [{ ...LIMIT_FIELDS.rate, value: rateValue(plan) }, { ...LIMIT_FIELDS.burst, value: plan.burst },
      { ...LIMIT_FIELDS.quota, value: plan.monthly_quota }, { ...DRY_RUN, value: plan.dry_run }],
    submit: (values) => set(name, values, reload),
  });
}

async function set(name, values, reload) {
  await post(`${PATH}/${encodeURIComponent(name)}`, entered(values, "burst", "quota"));
  reload();
}

export const planList = { load, show, acts: { create, change } };
