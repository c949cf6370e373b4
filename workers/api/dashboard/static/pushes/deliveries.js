// What became of a subscription's messages, and of what somebody asked for: a test, a replay.

import { get, post } from "../client.js";
import { badge, count, element, facts, micros, moment, muted, patch, table } from "../format.js";
import { openDialog } from "../administration/form.js";

const SHOWN = 50;
const LOOK_MS = 300;
const LOOKS = 200; // a minute: a replay of a day goes on without being looked at
const COLUMNS = [["Time", ""], ["Why it was sent", ""], ["Outcome", "words"], ["Status", "number"], ["Took", "number"], ["Tries", "number"], ["", "number"]];

// The newest messages of a subscription, with the reason of each failure; any may be sent once more.
export function showDeliveries(one) {
  const content = element("div", {}, muted("Asking the node."));
  openBox(`Deliveries of subscription ${one.id}`, content, "broad");
  get(`/subscriptions/${one.id}/deliveries?limit=${SHOWN}`).then(({ deliveries }) => {
    const rows = deliveries.map((found) => [moment(found.time), found.reason, outcomeOf(found), found.status ?? "none",
      micros(found.latency_ms * 1000), count(found.attempts),
      element("button", { type: "button", "data-sequence": found.sequence }, "Send again")]);
    patch(content, [table("Deliveries", COLUMNS, rows, "Nothing was sent yet; the log is some seconds behind.")]);
  }, (error) => patch(content, [element("p", { role: "alert" }, error.message)]));
  content.addEventListener("click", (event) => {
    const sequence = event.target.dataset.sequence;
    if (sequence !== undefined) runOrder(`Replay of message ${sequence}`, one, () => post(`/subscriptions/${one.id}/deliveries/${sequence}/replay`, {}));
  });
}

const outcomeOf = (found) => (found.outcome === "delivered" || found.outcome === "sent" ? badge(found.outcome, "good")
  : element("span", {}, badge(found.outcome.replaceAll("_", " "), "bad"), element("small", {}, ` ${found.why}`)));

// Asks for something, and shows what came of it as soon as that is known.
export async function runOrder(title, one, ask) {
  const content = element("div", { role: "status" }, muted("Waiting for the node that sends."));
  openBox(title, content);
  try {
    let { order } = await ask();
    for (let look = 0; look < LOOKS && (order.state === "waiting" || order.state === "running") && content.isConnected; look += 1) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      ({ order } = await get(`/subscriptions/${one.id}/orders/${order.id}`));
    }
    patch(content, resultOf(order));
  } catch (error) {
    patch(content, [element("p", { role: "alert" }, error.message)]);
  }
}

function resultOf({ state, result }) {
  if (state === "waiting" || state === "running") return [muted("It goes on: what came of it is in the deliveries.")];
  const rows = Object.entries(result ?? {}).filter(([, value]) => value !== null).map(([name, value]) => [name.replaceAll("_", " "), String(value)]);
  return [badge(state === "done" ? "arrived" : "did not arrive", state === "done" ? "good" : "bad"), facts(rows)];
}

let boxes = 0; // one may be opened over another

export function openBox(title, content, kind = "") {
  const titleId = `box-title-${++boxes}`;
  const done = element("button", { type: "button" }, "Close");
  const close = openDialog([element("h2", { id: titleId }, title), content, element("p", { class: "actions" }, done)], titleId, undefined, kind);
  done.addEventListener("click", close);
}
