// The page: one view at a time, chosen by the address behind #, kept alive by the event stream and short polls.
// A view is a function (main, argument) -> what to do when it is left.

import { ApiError, get, openStream, post } from "./client.js";
import { element } from "./format.js";
import { assetView } from "./asset.js";
import { pricesView } from "./prices.js";
import { feedsView, nodeView, usageView } from "./views.js";

const VIEWS = { "": pricesView, asset: assetView, feeds: feedsView, usage: usageView, node: nodeView };
const main = document.getElementById("main");
let leave = () => {};

function route() {
  const [name = "", argument = ""] = location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  leave();
  main.replaceChildren();
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.hash === (name && name !== "asset" ? `#/${name}` : "#/") && !link.pathname.endsWith("docs");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave = (VIEWS[name] ?? notFound)(main, argument) ?? (() => {});
  document.title = `${main.querySelector("h1")?.textContent ?? "Trinity"} - Trinity`;
}

function notFound(into) {
  into.append(element("h1", {}, "There is no such page"), element("p", {}, element("a", { href: "#/" }, "To the prices")));
}

// --- light and dark ---------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
  dispatchEvent(new Event("themechange"));
}

dark.addEventListener("change", applyTheme);
document.getElementById("theme").addEventListener("click", () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  applyTheme();
});

// --- the operator's session -------------------------------------------------------------------------------------

const dialog = document.getElementById("login");
const button = document.getElementById("session");
const failure = document.getElementById("login-error");

function showSession(isAdmin) {
  document.documentElement.dataset.admin = isAdmin;
  button.textContent = isAdmin ? "Log out" : "Log in";
}

button.addEventListener("click", async () => {
  if (document.documentElement.dataset.admin === "true") {
    await post("/session/end", {}).catch(() => {});
    start();
  } else {
    failure.textContent = "";
    dialog.showModal();
  }
});
document.getElementById("login-cancel").addEventListener("click", () => dialog.close());
document.getElementById("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = document.getElementById("admin-key");
  try {
    await post("/session", { key: input.value });
    dialog.close();
    start();
  } catch (error) {
    failure.textContent = error instanceof ApiError ? error.message : "The node does not answer.";
  }
  input.value = "";
});

// --- start ------------------------------------------------------------------------------------------------------

const badge = document.getElementById("link");

function showLink(text, level) {
  badge.textContent = text;
  badge.className = `badge ${level}`;
}

// Everything that depends on who asks; again after each login and logout.
async function start() {
  try {
    showSession((await get("/session")).admin);
  } catch {
    showLink("no connection", "bad");
  }
  openStream(showLink);
  route();
  try {
    const state = await get("/node");
    document.getElementById("node").textContent = state.node;
    document.getElementById("simulated").hidden = !state.simulated;
    document.getElementById("note").textContent =
      `${state.assets.length} assets from ${Object.keys(state.feeds).length} exchanges. A price that is old or disputed is refused, not shown.`;
  } catch (error) {
    showLink(error.status === 401 ? "log in to see the prices" : "no connection", "bad");
  }
}

addEventListener("hashchange", () => {
  route();
  main.focus();
});
applyTheme();
start();
