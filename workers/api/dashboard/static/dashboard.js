// The page: one view at a time, chosen by the address behind #, kept alive by the stream and short polls.
// A view is a function (main, argument, session) -> what to do when it is left. Who may not read asks for nothing.

import { assetView } from "./asset.js";
import { get, post } from "./client.js";
import { feedsView } from "./feeds.js";
import { element, muted, patch } from "./format.js";
import { closeStream, forget, loseStream, node, on, openStream, unwatchNode, watchNode } from "./live.js";
import { nodeView } from "./node.js";
import { pricesView } from "./prices.js";
import { NUMBERS, choose, chosen, ownZone, zones } from "./settings.js";

const VIEWS = { "": pricesView, asset: assetView, feeds: feedsView, usage: later("Usage", () => import("./usage.js")), bills: later("Bills", () => import("./bills.js")), node: nodeView,
  pushes: later("Pushes", () => import("./pushes/view.js")), cluster: later("Cluster", () => import("./cluster.js")) };
const OF_OPERATOR = ["cluster"]; // whose link is of no use to anybody else
const OF_BILLING = ["usage", "bills"]; // what who bills sees
const of = (id) => document.getElementById(id);
const main = of("main");

let session = null; // the last answer of /session
let leave = () => {};

// --- views ------------------------------------------------------------------------------------------------------

function route() {
  if (session === null) return;
  const [asked, argument] = placeOf(location.hash);
  const bills = session.kind === "billing";
  const name = bills && !OF_BILLING.includes(asked) ? "bills" : asked;
  leave();
  main.replaceChildren();
  for (const link of document.querySelectorAll("nav a[href^='#']")) {
    const view = link.getAttribute("href").slice(2);
    link.hidden = (bills && !OF_BILLING.includes(view)) || (session.kind !== "admin" && OF_OPERATOR.includes(view));
    if (view === (name === "asset" ? "" : name)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  of("link").hidden = bills; // nothing of it comes by the stream
  const view = !bills && !session.may_read ? closedView : Object.hasOwn(VIEWS, name) ? VIEWS[name] : absentView;
  leave = view(main, argument, session);
  document.title = `${main.querySelector("h1").textContent} - Trinity`;
}

function placeOf(hash) {
  try {
    const [name = "", argument = ""] = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    return [name, argument];
  } catch {
    return ["?", ""]; // no view has this name
  }
}

// A view whose file comes when it is opened first. Its module exports it as `view`.
function later(title, load) {
  return (into, argument, who) => {
    let isGone = false;
    let close = () => { isGone = true; };
    into.append(element("h1", {}, title));
    load().then(({ view }) => {
      if (isGone) return;
      into.replaceChildren();
      close = view(into, argument, who);
    }, () => patch(into, [element("h1", {}, title), element("p", { role: "alert" }, "This part of the page did not come: load it again.")]));
    return () => close();
  };
}

function absentView(into) {
  into.append(element("h1", {}, "There is no such page"), element("p", {}, element("a", { href: "#/" }, "To the prices")));
  return () => {};
}

function closedView(into) {
  const open = element("button", { type: "button", class: "primary" }, "Log in");
  open.addEventListener("click", showLogin);
  into.append(element("h1", {}, "This node needs a key"),
    element("div", { class: "card" }, muted("Its operator answers only who has an API key. Log in with yours to see prices and your usage."), open));
  return () => {};
}

addEventListener("hashchange", () => {
  route();
  main.focus();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address behind # is the view's
  main.focus();
});

// --- who asks ---------------------------------------------------------------------------------------------------

let starts = 0;

async function start() {
  const turn = ++starts;
  const found = await get("/session").catch(() => null);
  if (turn !== starts) return; // somebody logged in or out meanwhile
  if (found === null) return loseStream(start);
  const isOther = JSON.stringify(found) !== JSON.stringify(session);
  session = found;
  of("session").textContent = session.kind === "anonymous" ? "Log in" : "Log out";
  of("session").hidden = false;
  if (!session.may_read) {
    forget();
    unwatchNode();
  } else {
    openStream(start);
    if (isOther) watchNode(start);
  }
  if (isOther) route();
}

// A browser has six connections for a host. A tab that nobody sees, or a page that was left and is kept for the way
// back, must not hold one of them.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    closeStream();
    unwatchNode();
  } else {
    session = null; // to be drawn anew
    start();
  }
});

const dialog = of("login");

function showLogin() {
  of("login-error").textContent = "";
  dialog.showModal();
}

of("session").addEventListener("click", async () => {
  if (session.kind === "anonymous") return showLogin();
  leave(); // what would still be asked with a session that has ended would be refused
  leave = () => {};
  unwatchNode();
  closeStream();
  await post("/session/end", {}).catch(() => {});
  forget(); // what was seen with the key is gone from the page
  session = null; // to be drawn anew, also where it could not be ended
  start();
});
of("login-cancel").addEventListener("click", () => dialog.close());
of("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = of("key").value;
  of("key").value = "";
  unwatchNode(); // it would go on as who signs in, who may be refused it
  try {
    await post("/session", { key, name: of("name").value });
    dialog.close();
    start();
  } catch (error) {
    of("login-error").textContent = error.message;
    watchNode(start);
  }
});

// --- around the views -------------------------------------------------------------------------------------------

const LINKS = { off: ["closed", ""], connecting: ["connecting", ""], live: ["live", "good"], lost: ["no connection", "bad"] };

on("link", (state) => {
  const [text, level] = LINKS[state];
  of("link").textContent = text;
  of("link").className = `badge ${level}`;
  of("lost").hidden = state !== "lost";
  of("lost").textContent = state === "lost" ? "The connection to the node is lost: what is grey is old. Trying again." : "";
});
on("node", () => {
  if (node === null) return;
  of("node").textContent = node.node;
  of("simulated").hidden = !node.simulated;
});

// --- time zone and numbers --------------------------------------------------------------------------------------

of("format").addEventListener("click", () => {
  const { zone, name } = chosen();
  const option = (value, isChosen, text = value) => element("option", { value, selected: isChosen }, text);
  of("zone").replaceChildren(...[...new Set([ownZone, ...zones()])].map((known) =>
    option(known, known === zone, known === ownZone ? `${known} (this browser's)` : known)));
  of("numbers").replaceChildren(...Object.keys(NUMBERS).map((known) => option(known, known === name)));
  of("settings").showModal();
});
of("settings-cancel").addEventListener("click", () => of("settings").close());
of("settings-form").addEventListener("submit", () => choose(of("zone").value, of("numbers").value));
addEventListener("formatchange", route);

// --- light and dark ---------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
  dispatchEvent(new Event("themechange"));
}

dark.addEventListener("change", applyTheme);
of("theme").addEventListener("click", () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  applyTheme();
});

applyTheme();
start();
