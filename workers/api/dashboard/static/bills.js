// The month of every customer for the people who bill, or one's own: what is due, what was asked, and the file of it.

import { get, poll } from "./client.js";
import { badge, card, count, element, muted, patch, table } from "./format.js";

const POLL_MS = 30_000;
const COLUMNS = [["Customer", ""], ["Plan", ""], ["Price", "number"], ["Due", "number"], ["Included", "number"],
  ["Answers", "number"], ["Billable", "number"], ["Beyond the plan", "number"]];
const FILES = ["xlsx", "csv", "parquet", "json"];

export function view(main, _, session) {
  const month = element("input", { type: "month", id: "month", value: thisMonth(), max: thisMonth() });
  const content = element("div", {}, muted("Asking the node."));
  main.append(element("h1", {}, "Bills"), element("p", {}, element("label", { for: "month" }, "Month (UTC) "), month), content);
  if (session.kind === "anonymous") {
    patch(content, [element("div", { class: "card" }, muted("Bills belong to a key. Log in with yours, or as who bills."))]);
    return () => {};
  }
  let stop = () => {};
  const show = () => {
    stop();
    stop = poll(POLL_MS, async (signal) => {
      const shown = await load(month.value, signal).catch((error) => [element("p", { role: "alert" }, error.message)]);
      if (!signal.aborted) patch(content, shown);
    });
  };
  month.addEventListener("change", show);
  show();
  return () => stop();
}

async function load(month, signal) {
  const bill = await get(`/reports/billing?month=${encodeURIComponent(month)}`, signal);
  const rows = bill.rows.map((row) => [row.account, row.plan ?? "none", money(row.price, row), money(row.base_amount, row),
    row.included === null ? "no limit" : count(row.included), count(row.answers), count(row.billable), count(row.overage)]);
  const links = FILES.map((format) => element("a", { href: `/reports/billing?month=${bill.month}&format=${format}`, download: "" }, format.toUpperCase()));
  return [card(`Month ${bill.month}`, "", bill.complete ? "" : badge("not over yet", "warn"),
    table(`Bills of ${bill.month}`, COLUMNS, rows, "There is no customer yet."),
    element("p", {}, "As a file: ", links.flatMap((link) => [link, " "])))];
}

const money = (amount, row) => (amount === null ? "none" : `${amount} ${row.currency ?? ""}`.trim());
const thisMonth = () => new Date().toISOString().slice(0, 7);
