// Accounts: who the customers are.

import { get, post } from "../client.js";
import { count, element, facts, moment, table } from "../format.js";
import { openForm, openMember } from "./form.js";
import { button, entered, finder, has, listCard, nothing } from "./pieces.js";

const PATH = "/administration/accounts";
const pathOf = (name, act = "") => `${PATH}/${encodeURIComponent(name)}${act}`;

const load = (signal) => get(PATH, signal);

function show({ accounts }, state) {
  const make = button("create", "", accounts.length ? "New account" : "Make the first account", "primary");
  if (!accounts.length) return [listCard("Accounts", "", nothing("There is no customer yet. An account also comes with its first key.", make))];
  const rows = accounts.filter((account) => has(state.find, account.name, account.email, account.language)).map((account) =>
    [button("manage", account.name, account.name, "link"), account.email ?? "none", account.language, count(account.keys), moment(account.created_at)]);
  return [listCard("Accounts", make, finder("Find", state.find),
    table("Accounts", [["Customer", ""], ["E-mail", ""], ["Language", "wide"], ["Keys", "number"], ["Since", "wide"]], rows, "No account is like that."))];
}

const FIELDS = (account) => [
  { name: "email", label: "E-mail", type: "email", value: account.email ?? "", help: "Where to reach the customer; empty: as it is" },
  { name: "language", label: "Language", value: account.language ?? "", help: "What they prefer to read: en, de, pt-BR" },
];

function create(_, __, { reload }) {
  openForm({
    title: "New account", action: "Make the account", fields: [{ name: "account", label: "Name", required: true }, ...FIELDS({ language: "en" })],
    submit: ({ account, ...values }) => change(pathOf(account), entered(values), reload),
  });
}

function manage(name, { accounts }, { reload }) {
  const account = accounts.find((one) => one.name === name);
  const acts = [["Change", () => openForm({ title: `Account ${name}`, action: "Change the account", fields: FIELDS(account),
    submit: (values) => change(pathOf(name), entered(values), reload) })],
  ["Rename", () => openForm({ title: `Rename ${name}`, action: "Rename the account",
    fields: [{ name: "name", label: "New name", required: true, help: "Its keys, ledger and bills go with it" }],
    submit: (values) => change(pathOf(name, "/rename"), values, reload) })],
  ["Delete", () => remove(account, reload), "danger"]];
  openMember([name],
    [facts([["E-mail", account.email ?? "none"], ["Language", account.language], ["Keys", count(account.keys)], ["Since", moment(account.created_at)]]),
      element("p", {}, element("a", { href: `#/usage/${encodeURIComponent(account.id)}` }, "Usage of this customer"))], acts);
}

function remove(account, reload) {
  openForm({
    title: `Delete ${account.name}`, action: "Delete it for good", danger: true,
    intro: [element("p", {}, "It gets no more keys and loses its e-mail address. Ledger and bills keep its name.")],
    fields: [{ name: "revoke_keys", label: "Revoke its keys", type: "checkbox", help: "Without that it is refused while a key works" },
      { name: "confirm", label: `Type ${account.name} to confirm`, confirm: account.name }],
    submit: (values) => change(pathOf(account.name, "/delete"), values, reload),
  });
}

async function change(path, body, reload) {
  await post(path, body);
  reload();
}

export const accountList = { load, show, acts: { create, manage } };
