// Endpoints: where events are posted, how they fare, and what may be done with one.

import { get, post, send } from "../client.js";
import { badge, count, element, facts, moment, muted, patch, table } from "../format.js";
import { openForm, openMember, showSecret } from "../administration/form.js";
import { button, listCard, nothing } from "../administration/pieces.js";
import { openBox } from "./deliveries.js";
import { stateOf } from "./state.js";

const PATH = "/endpoints";
const SECRET_NOTE = "Events are signed with it. Whoever has it can forge them.";
const COLUMNS = [["Endpoint", ""], ["URL", "words"], ["Events", "words"], ["State", "words"], ["Waiting", "number"], ["Last arrived", "wide"], ["", "number"]];
const EVENT_COLUMNS = [["Time", ""], ["Type", ""], ["State", ""], ["Tries", "number"], ["Next try", ""], ["Why", "words"], ["", "number"]];
const LEVELS = { delivered: "good", waiting: "old", failed: "bad", aborted: "bad" };

const load = (signal) => get(PATH, signal);
const pathOf = (one, act) => `${PATH}/${one.id}${act ? `/${act}` : ""}`;
const typesOf = (text) => text.split(/[\s,]+/).filter(Boolean);

function show({ endpoints }, { isOperator }) {
  const make = button("create", "", "New endpoint", "primary");
  if (!endpoints.length) return [listCard("Endpoints", "", nothing("No endpoint yet. Events of an account (a key was made, a receiver fails, a month is used up) are posted to one until they have arrived.", make))];
  const columns = isOperator ? [COLUMNS[0], ["Customer", ""], ...COLUMNS.slice(1)] : COLUMNS;
  const rows = endpoints.map((one) => [one.name || `number ${one.id}`, ...(isOperator ? [one.account ?? "the operator"] : []), one.url,
    one.types.join(", ") || "all", stateOf(one), count(one.waiting ?? 0), moment(one.last_success_at), button("manage", one.id, "Manage")]);
  return [listCard("Endpoints", make, table("Endpoints", columns, rows))];
}

const fieldsOf = (one = {}) => [
  { name: "url", label: "URL", value: one.url, required: true, help: "Of HTTPS, with its path" },
  { name: "types", label: "Events", value: one.types?.join(", "), help: "key.*, subscription.disabled, ...; empty: all" },
  { name: "name", label: "Name", value: one.name },
];

function create(_, __, { reload }) {
  openForm({
    title: "New endpoint", action: "Make it", fields: fieldsOf(),
    submit: async ({ url, types, name }) => {
      const made = await post(PATH, { url, types: typesOf(types), name });
      reload();
      setTimeout(() => showSecret(made.secret, `The secret of endpoint ${made.endpoint.id}`, "Secret", SECRET_NOTE));
    },
  });
}

function manage(id, { endpoints }, { reload }) {
  const one = endpoints.find((found) => String(found.id) === id);
  const act = (title, does, work) => () => openForm({ title: `${title} endpoint ${one.id}`, action: `${title} it`, intro: [muted(does)],
    submit: async () => { await work(); reload(); } });
  const acts = [
    ["Test", act("Test", "A test event is posted to it.", () => post(pathOf(one, "test"), {}))],
    ["Deliveries", () => showEvents(one)], ["Change", () => change(one, reload)],
    one.state === "active" ? ["Pause", act("Pause", "Events wait until it is resumed.", () => post(pathOf(one, "pause"), {}))]
      : ["Resume", act("Resume", "Events are posted again.", () => post(pathOf(one, "resume"), {}))],
    ["Replay", act("Replay to", "All events of the last 7 days that did not arrive are posted again.", () => post(pathOf(one, "replay"), { since: "7d" }))],
    ["Rotate", () => rotate(one, reload)], ["Delete", () => remove(one, reload), "danger"],
  ];
  openMember([`Endpoint ${one.id} `, stateOf(one)], [facts([
    ["Name", one.name || "none"], ["URL", one.url], ["Events", one.types.join(", ") || "all"], ["Waiting", count(one.waiting ?? 0)],
    ...(one.disabled_reason ? [["Disabled", one.disabled_reason, moment(one.disabled_at)]] : []),
    ["Last arrived", moment(one.last_success_at)], ["Last failure", moment(one.last_failure_at), one.last_error ?? ""]])], acts);
}

function change(one, reload) {
  openForm({
    title: `Change endpoint ${one.id}`, action: "Change it", fields: fieldsOf(one),
    submit: async ({ url, types, name }) => { await send("PATCH", pathOf(one), { url, types: typesOf(types), name }); reload(); },
  });
}

function rotate(one, reload) {
  openForm({
    title: `New secret of endpoint ${one.id}`, action: "Make the new secret",
    fields: [{ name: "grace", label: "The old one signs for", value: "24h", help: "24h, 7d; 0: it ends at once" }],
    submit: async (values) => {
      const made = await post(pathOf(one, "rotate"), values);
      reload();
      setTimeout(() => showSecret(made.secret, `The new secret of endpoint ${one.id}`, "Secret", SECRET_NOTE));
    },
  });
}

function remove(one, reload) {
  openForm({
    title: `Delete endpoint ${one.id}`, action: "Delete it for good", danger: true,
    intro: [element("p", {}, "Events that wait for it never arrive there.")],
    fields: [{ name: "confirm", label: `Type ${one.id} to confirm`, confirm: String(one.id) }],
    submit: async () => { await send("DELETE", pathOf(one)); reload(); },
  });
}

// An endpoint's events and what became of each; any may be posted once more.
function showEvents(one) {
  const content = element("div", {}, muted("Asking the node."));
  openBox(`Events to endpoint ${one.id}`, content, "broad");
  const tell = (error) => patch(content, [element("p", { role: "alert" }, error.message)]);
  const draw = () => get(pathOf(one, "deliveries")).then(({ deliveries }) => {
    const rows = deliveries.map((found) => [moment(found.occurred_at), found.type, badge(found.state, LEVELS[found.state]), count(found.attempts),
      found.next_at ? moment(found.next_at) : "none", found.last_error ?? "",
      element("button", { type: "button", "data-event": found.event }, "Send again")]);
    patch(content, [table("Events", EVENT_COLUMNS, rows, "No event yet.")]);
  }).catch(tell);
  content.addEventListener("click", (event) => {
    const uid = event.target.dataset.event;
    if (uid === undefined) return;
    post(pathOf(one, "replay"), { event: uid }).then(draw, tell);
  });
  draw();
}

export const endpointList = { load, show, acts: { create, manage } };
