// Who changed what: by the page, the API and the command line, the newest first.

import { get } from "../client.js";
import { element, moment, table, words } from "../format.js";
import { button, listCard, nothing } from "./pieces.js";

const PAGE_ENTRIES = 50;

async function load(signal, state) {
  return get(`/administration/audit?count=${state.count ?? PAGE_ENTRIES}`, signal);
}

function show({ entries, next }) {
  if (!entries.length) return [listCard("Audit", "", nothing("Nothing was changed yet. Each change of a key, plan, account or block will stand here."))];
  const rows = entries.map((entry) => [moment(entry.time), entry.actor, entry.address ?? words(entry.via), entry.action,
    `${entry.kind} ${entry.name}`, changeOf(entry)]);
  return [listCard("Audit", "", table("Who changed what",
    [["When", ""], ["Who", ""], ["From", "wide"], ["Did", ""], ["To", ""], ["What", "wide changes"]], rows),
  next === null ? "" : element("p", {}, button("more", "", "Show more")))];
}

function changeOf({ before, after }) {
  const fields = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].sort();
  const text = (value) => (value === undefined ? "none" : typeof value === "string" ? value : JSON.stringify(value));
  return fields.map((field) => {
    if (before === null) return `${words(field)}: ${text(after[field])}`;
    if (after === null) return `${words(field)}: was ${text(before[field])}`;
    return `${words(field)}: ${text(before[field])} → ${text(after[field])}`;
  }).join(", ");
}

function more(_, __, { state, reload }) {
  state.count = Math.min(1000, (state.count ?? PAGE_ENTRIES) * 2);
  reload();
}

export const auditList = { load, show, acts: { more } };
