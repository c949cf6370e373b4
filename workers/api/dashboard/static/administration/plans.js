// Plans: what customers are held to. A change reaches every key that is on it.

import { get, post } from "../client.js";
import { badge, count, facts, muted, table } from "../format.js";
import { openForm, openMember } from "./form.js";
import { LIMIT_FIELDS, button, entered, limitText, listCard, rateText, rateValue } from "./pieces.js";

const PATH = "/administration/plans";

const load = (signal) => get(PATH, signal);

const overIt = (plan) => {
  if (!plan.rate_requests && !plan.monthly_quota) return "nothing to refuse";
  return plan.dry_run ? badge("counted only", "warn") : badge("refused", "good");
};

const priceText = (plan) => (plan.price === null ? "none" : `${plan.price} ${plan.currency}`);

function show({ plans }) {
  const rows = plans.map((plan) => [button("manage", plan.name, plan.name, "link"), rateText(plan),
    plan.rate_requests ? count(plan.burst) : "no limit", limitText(plan.monthly_quota), count(plan.keys), priceText(plan), overIt(plan)]);
  return [listCard("Plans", button("create", "", "New plan", "primary"),
    table("Plans", [["Plan", ""], ["Rate", "number"], ["At once", "number wide"], ["A month", "number"], ["Keys", "number wide"], ["Price", "number"], ["Over it", "wide"]], rows),
    muted("A change reaches all keys of a plan at once, but for limits of their own."))];
}

const CLASS = { name: "admission_class", label: "Admission class", type: "number", min: 0, max: 3, help: "0 to 3: when there is more to do than can be done, 0 gives way first and 3 last" };
const DRY_RUN = { name: "dry_run", label: "Dry run", type: "checkbox", help: "What would be refused for its limits is only counted" };

function create(_, __, { reload }) {
  openForm({
    title: "New plan", action: "Make the plan",
    fields: [{ name: "plan", label: "Name", required: true }, { ...LIMIT_FIELDS.rate, required: true }, { ...LIMIT_FIELDS.burst, required: true },
      { ...LIMIT_FIELDS.quota, required: true }, DRY_RUN],
    submit: ({ plan, ...values }) => set(plan, values, reload),
  });
}

function manage(name, { plans }, { reload }) {
  const plan = plans.find((one) => one.name === name);
  openMember([`Plan ${name}`], [facts([["Rate", rateText(plan)], ["At once", plan.rate_requests ? count(plan.burst) : "no limit"],
    ["A month", limitText(plan.monthly_quota)], ["Keys", count(plan.keys)], ["Over it", overIt(plan)],
    ["Price a month", priceText(plan), plan.price_since ? `since ${plan.price_since}` : ""]])],
  [["Limits", () => change(plan, reload)], ["Price", () => setPrice(plan, reload)]]);
}

function change(plan, reload) {
  openForm({
    title: `Limits of plan ${plan.name}`, action: "Change the plan", intro: [muted(`${count(plan.keys)} keys follow at once.`)],
    fields: [{ ...LIMIT_FIELDS.rate, value: rateValue(plan) }, { ...LIMIT_FIELDS.burst, value: plan.burst },
      { ...LIMIT_FIELDS.quota, value: plan.monthly_quota }, { ...DRY_RUN, value: plan.dry_run }, { ...CLASS, value: plan.admission_class }],
    submit: (values) => set(plan.name, values, reload),
  });
}

function setPrice(plan, reload) {
  openForm({
    title: `Price of plan ${plan.name}`, action: "Set the price", intro: [muted("Bills of months before keep the price before.")],
    fields: [{ name: "price", label: "A month", value: plan.price ?? "", help: "49 or 49.90", inputmode: "decimal", required: true },
      { name: "currency", label: "Currency", value: plan.currency ?? "", help: "EUR, USD", required: true },
      { name: "from", label: "From", help: "The first day (UTC), 2026-12-01; empty: today" }],
    submit: async (values) => {
      await post(`${PATH}/${encodeURIComponent(plan.name)}/price`, entered(values));
      reload();
    },
  });
}

async function set(name, values, reload) {
  await post(`${PATH}/${encodeURIComponent(name)}`, entered(values, "burst", "quota"));
  reload();
}

export const planList = { load, show, acts: { create, manage } };
