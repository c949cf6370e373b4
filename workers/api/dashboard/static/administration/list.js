// A list that is drawn again after each change and now and then, since others change things as well.
//
// A list is {load(signal, state) -> content, show(content, state) -> pieces, acts}. A button says what it does by
// `data-act`, and to what by `data-of`: pieces are changed in place, so it is looked for when it is pressed.

import { poll } from "../client.js";
import { element, patch } from "../format.js";

const POLL_MS = 5000;

// Shows a list in `content` until what it returns is called; `state` is what the list keeps between its drawings.
export function showList(content, list, state = {}) {
  let newest = null;
  let stop = () => {};
  const draw = () => newest !== null && patch(content, list.show(newest, state));
  const reload = () => {
    stop();
    stop = poll(POLL_MS, async (signal) => {
      try {
        const found = await list.load(signal, state);
        if (signal.aborted) return;
        newest = found;
        draw();
      } catch (error) {
        if (!signal.aborted) patch(content, [element("p", { role: "alert", class: "strip bad" }, error.message)]);
      }
    });
  };
  content.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button !== null && newest !== null) list.acts[button.dataset.act](button.dataset.of, newest, { reload, draw, state });
  });
  content.addEventListener("input", (event) => {
    if (event.target.dataset.filter === undefined) return;
    state[event.target.dataset.filter] = event.target.value;
    draw();
  });
  reload();
  return () => stop();
}
