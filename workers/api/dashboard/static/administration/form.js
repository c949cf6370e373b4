// A form in a dialog. What is wrong stands beside the field that is to blame; what is for good is confirmed by typing
// the name of what it ends, before there is anything to press.
//
//   openForm({ title, intro, fields, action, danger, submit })
//
// A field is {name, label, help, value, type, choices, required, confirm}; `confirm` is the text that it must have.
// `submit(values)` is awaited with the texts that were entered, those of `type: "checkbox"` as booleans: what it throws
// is shown, and the dialog stays.

import { element } from "../format.js";

export function openForm({ title, intro = [], fields = [], action, danger = false, submit }) {
  const rows = fields.map(rowOf);
  const failure = element("p", { class: "failure", role: "alert" });
  const send = element("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const cancel = element("button", { type: "button" }, "Cancel");
  const form = element("form", { method: "dialog", novalidate: true }, element("h2", { id: "form-title" }, title),
    ...intro, ...rows.map((row) => row.root), failure, element("p", { class: "actions" }, cancel, send));
  const close = openDialog(form, "form-title");
  cancel.addEventListener("click", close);

  const isReady = () => rows.every(({ field, input }) =>
    (field.confirm == null || input.value.trim() === field.confirm) && (!field.required || input.value.trim() !== ""));
  const check = () => { send.disabled = !isReady(); };
  form.addEventListener("input", check);
  check();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    tell(rows, failure, null);
    try {
      await submit(Object.fromEntries(rows.map(({ field, input }) =>
        [field.name, field.type === "checkbox" ? input.checked : input.value.trim()])));
      close();
    } catch (error) {
      tell(rows, failure, error);
    }
    check();
  });
}

// A dialog with these contents; returns what closes it. Whoever had the focus has it again.
export function openDialog(contents, titleId, onClose = () => {}, kind = "") {
  const dialog = element("dialog", { class: `form ${kind}`, "aria-labelledby": titleId }, [contents].flat(2));
  document.body.append(dialog);
  dialog.addEventListener("close", () => { dialog.remove(); onClose(); });
  dialog.showModal();
  return () => dialog.close();
}

// All about one of a list, and what may be done with it: [text, act, class] each.
export function openMember(title, contents, acts) {
  const done = element("button", { type: "button" }, "Close");
  const made = acts.map(([text, act, kind]) => {
    const one = element("button", { type: "button", class: kind ?? "" }, text);
    one.addEventListener("click", () => { close(); act(); });
    return one;
  });
  const close = openDialog([element("h2", { id: "form-title" }, title), contents, element("p", { class: "actions" }, done, made)], "form-title");
  contents.forEach((piece) => piece.addEventListener("click", (event) => event.target.closest("a") && close()));
  done.addEventListener("click", close);
}

// The key itself, this once: it is in no other place of the page, and gone with the dialog.
export function showSecret(secret, about, label = "API key", note = "It is shown this once: the node keeps no copy of it.") {
  const shown = element("input", { id: "secret", readonly: true, value: secret, "aria-describedby": "secret-help", spellcheck: "false" });
  const copy = element("button", { type: "button", class: "primary" }, "Copy");
  const done = element("button", { type: "button" }, "I have it");
  const copied = element("p", { role: "status", class: "muted" });
  copy.addEventListener("click", async () => { copied.textContent = await copyText(shown) ? "Copied." : "Selected: copy it by hand."; });
  const close = openDialog([element("h2", { id: "form-title" }, about), element("p", {}, element("label", { for: "secret" }, label), shown),
    element("p", { id: "secret-help", class: "strip warn" }, note),
    copied, element("p", { class: "actions" }, done, copy)], "form-title", () => { shown.value = ""; });
  done.addEventListener("click", close);
  copy.focus();
}

// Where the page came without TLS the browser gives it no clipboard: then the old way, from what is selected.
async function copyText(input) {
  try {
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    input.select();
    return document.execCommand("copy");
  }
}

function rowOf(field) {
  const id = `field-${field.name}`, helpId = `${id}-help`, wrongId = `${id}-wrong`;
  const attributes = { id, name: field.name, "aria-describedby": `${helpId} ${wrongId}`, autocomplete: field.type ? null : "off" };
  const input = field.choices
    ? element("select", attributes, field.choices.map(([value, text]) => element("option", { value, selected: value === field.value }, text)))
    : element("input", { ...attributes, type: field.type ?? "text", value: field.type === "checkbox" ? null : field.value ?? "",
      checked: field.type === "checkbox" && !!field.value, inputmode: field.inputmode, spellcheck: "false" });
  const wrong = element("small", { id: wrongId, class: "wrong" });
  const label = element("label", { for: id }, field.label);
  const help = element("small", { id: helpId }, field.help ?? "");
  const parts = field.type === "checkbox" ? [input, " ", label, help, wrong] : [label, input, help, wrong];
  return { field, input, wrong, root: element("p", { class: field.type === "checkbox" ? "row check" : "row" }, parts) };
}

function tell(rows, failure, error) {
  const guilty = error && rows.find(({ field }) => field.name === error.field);
  for (const { input, wrong } of rows) {
    wrong.textContent = "";
    input.removeAttribute("aria-invalid");
  }
  failure.textContent = error && !guilty ? error.message : "";
  if (!guilty) return;
  guilty.wrong.textContent = error.message;
  guilty.input.setAttribute("aria-invalid", "true");
  guilty.input.focus();
}

