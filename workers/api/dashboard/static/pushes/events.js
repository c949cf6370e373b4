// The feed of events: what happened to the account, or for the operator to all of them and to the nodes.

import { get } from "../client.js";
import { card, moment, muted, table } from "../format.js";

const load = (signal) => get("/events?limit=200", signal);

function show({ events, next }, { isOperator }) {
  const columns = [["Time", ""], ...(isOperator ? [["Customer", ""]] : []), ["Type", ""], ["What", "wrap"]];
  const rows = events.map((event) => [moment(event.occurred_at), ...(isOperator ? [event.account ?? "the nodes"] : []), event.type, textOf(event.data)]);
  return [card("Events", "", table("Events", columns, rows, "Nothing has happened yet."), next ? muted("The newest two hundred.") : "")];
}

const textOf = (data) => Object.entries(data).filter(([, value]) => value !== null && value !== "")
  .map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`).join(", ");

export const eventList = { load, show, acts: {} };
