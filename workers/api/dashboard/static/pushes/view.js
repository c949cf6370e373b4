// What is pushed: subscriptions to prices, endpoints for events, and the events themselves; of one's own account, for the
// operator of all.

import { element, muted } from "../format.js";
import { showList } from "../administration/list.js";
import { endpointList } from "./endpoints.js";
import { eventList } from "./events.js";
import { subscriptionList } from "./subscriptions.js";

const LISTS = { "": ["Subscriptions", subscriptionList], endpoints: ["Endpoints", endpointList], events: ["Events", eventList] };

export function view(main, argument, session) {
  main.append(element("h1", {}, "Pushes"));
  if (session.kind !== "admin" && session.kind !== "key") {
    main.append(element("div", { class: "card" }, muted("What is pushed belongs to a key. Log in with yours, or as the operator.")));
    return () => {};
  }
  const name = Object.hasOwn(LISTS, argument) ? argument : "";
  const tabs = Object.entries(LISTS).map(([one, [title]]) => element("a", { href: one ? `#/pushes/${one}` : "#/pushes",
    "aria-current": one === name ? "page" : null }, title));
  const content = element("div", {}, muted("Asking the node."));
  main.append(element("nav", { class: "tabs", "aria-label": "Of pushes" }, tabs), content);
  return showList(content, LISTS[name][1], { isOperator: session.kind === "admin" });
}
