// Addresses and networks that no node answers.

import { get, post } from "../client.js";
import { moment, table } from "../format.js";
import { openForm } from "./form.js";
import { button, entered, listCard, nothing } from "./pieces.js";

const PATH = "/administration/blocks";

const load = (signal) => get(PATH, signal);

function show({ blocks }) {
  const make = button("create", "", "Block an address", "primary");
  if (!blocks.length) return [listCard("Blocks", "", nothing("No address is blocked. One that is blocked is refused on all nodes, with a good key as well.", make))];
  const rows = blocks.map((block) => [block.network, block.reason || "none given", moment(block.created_at),
    block.expires_at ? moment(block.expires_at) : "by hand", button("remove", block.network, "Unblock")]);
  return [listCard("Blocks", make, table("Blocked addresses", [["Network", ""], ["Reason", ""], ["Since", "wide"], ["Until", "wide"], ["", "number"]], rows))];
}

function create(_, __, { reload }) {
  openForm({
    title: "Block an address", action: "Block it",
    fields: [{ name: "address", label: "Address or network", required: true, help: "192.0.2.7, 192.0.2.0/24, 2001:db8::/64" },
      { name: "reason", label: "Reason" }, { name: "for", label: "For how long", help: "1h, 7d; empty: until it is unblocked" }],
    submit: async (values) => {
      await post(PATH, entered(values));
      reload();
    },
  });
}

function remove(network, _, { reload }) {
  openForm({
    title: `Unblock ${network}`, action: "Unblock it",
    submit: async () => {
      await post(`${PATH}/remove`, { address: network });
      reload();
    },
  });
}

export const blockList = { load, show, acts: { create, remove } };
