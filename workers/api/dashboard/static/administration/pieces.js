// What the lists of the operator have in common.

import { card, count, element, muted } from "../format.js";

export const button = (act, of, text, kind = "") =>
  element("button", { type: "button", class: kind, "data-act": act, "data-of": of }, text);

// A card with a list, what can be made beside its title, and where to find one in it.
export const listCard = (title, make, ...children) =>
  card([title, make], "", ...children);

export const finder = (label, text) => element("p", { class: "choice" }, element("label", { for: "find" }, label),
  element("input", { id: "find", type: "search", "data-filter": "find", value: text ?? "", spellcheck: "false" }));

export const has = (find, ...texts) => !find || texts.some((text) => String(text ?? "").toLowerCase().includes(find.trim().toLowerCase()));

// A list without a member, and the way on.
export const nothing = (text, ...ways) => element("div", { class: "nothing" }, muted(text), ways);

export const rateText = (limited) => {
  if (!limited.rate_requests) return "no limit";
  return limited.rate_seconds === 1 ? `${count(limited.rate_requests)} a second` : `${count(limited.rate_requests)} in ${count(limited.rate_seconds)} s`;
};
export const limitText = (limit) => (limit ? count(limit) : "no limit");

// A rate as it is written into a field, and read again.
export const rateValue = (limited) => (limited.rate_seconds === 1 ? String(limited.rate_requests) : `${limited.rate_requests}/${limited.rate_seconds}s`);

// What was entered, without what was left empty; whole numbers as numbers, so that anything else is refused by name.
export function entered(values, ...numbers) {
  const body = {};
  for (const [name, value] of Object.entries(values)) {
    if (value === "" || value === null) continue;
    body[name] = numbers.includes(name) && /^[0-9]+$/.test(value) ? Number(value) : value;
  }
  return body;
}

export const LIMIT_FIELDS = {
  rate: { name: "rate", label: "Rate", help: "Requests a second (200, 0.2) or in a time (1/5s, 90/m); 0: no limit" },
  burst: { name: "burst", label: "At once", help: "Requests at one moment", inputmode: "numeric" },
  quota: { name: "quota", label: "A month", help: "Prices in a calendar month (UTC); 0: no limit", inputmode: "numeric" },
};
