// How a subscription or an endpoint fares: one word as a badge, and of one that fails the reason beside it.

import { badge, element } from "../format.js";

const LEVELS = { active: "good", paused: "old", disabled: "bad" };

export function stateOf(one) {
  if (one.state !== "active" || !one.failing_since) return badge(one.state, LEVELS[one.state]);
  return element("span", {}, badge("failing", "warn"), element("small", {}, ` ${one.last_error ?? "no answer"}`));
}
