// The frame: who is there, where one is, what is live. Each view is {title, node, update(events), close()}.

import { fill, h, hidden, setClock, tick, toast } from "./dom.js";
import { me } from "./actions.js";
import { get, hasToken, setToken, store } from "./server.js";
import { routines } from "./view-routines.js";

// The first view comes at once; the others are fetched when somebody goes there.
const form = () => import("./view-form.js");
const one = () => import("./view-routine.js");
const others = () => import("./view-others.js");
const ROUTES = [
  [/^$|^#\/?$/, async () => routines()],
  [/^#\/new$/, async () => (await form()).form(null)],
  [/^#\/routines\/([^/]+)$/, async (id) => (await one()).routine(id)],
  [/^#\/routines\/([^/]+)\/edit$/, async (id) => (await form()).form(id)],
  [/^#\/routines\/([^/]+)\/runs\/([^/]+)$/, async (id, name) => (await one()).run(id, name)],
  [/^#\/timeline$/, async () => (await import("./view-timeline.js")).timeline()],
  ...["agents", "approvals", "budgets", "health"].map((name) => [new RegExp(`^#/${name}$`), async () => (await others())[name]()]),
];
const PLACES = [["#/", "Routines"], ["#/timeline", "Timeline"], ["#/approvals", "Approvals"], ["#/agents", "Agents"], ["#/budgets", "Budgets"], ["#/health", "Health"]];
const THEMES = ["system", "light", "dark"];
const THEME = "routinectl.theme";
const ICON = new URL("icon.svg", import.meta.url).pathname;

const app = document.getElementById("app");
let view = null;
let showing = 0;

function setTheme(name) {
  localStorage.setItem(THEME, name);
  if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
}

// -- who is there

function login(fault = "") {
  close();
  store.close(); // who signs in again opens it anew
  app.className = "";
  const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, aria: { describedby: "token-note", invalid: String(Boolean(fault)) } });
  const keep = h("input", { type: "checkbox", id: "keep" });
  fill(app, h("main", { id: "content", className: "login", tabIndex: -1 }, h("div", { className: "sheet" },
    h("img", { src: ICON, alt: "" }), h("h1", { tabIndex: -1 }, "routinectl"),
    h("p", { className: "soft" }, "Sign in with a token of this workspace."), fault && h("p", { className: "notice bad", role: "alert" }, fault),
    h("form", { onsubmit: (event) => { event.preventDefault(); setToken(field.value.trim(), keep.checked); begin(); } },
      h("div", { className: "field" }, h("label", { htmlFor: "token" }, "Token"), field,
        h("span", { className: "note", id: "token-note" }, "Make one in a terminal: ", h("code", {}, "routinectl token create --role admin"))),
      h("p", {}, h("label", { className: "check" }, keep, "Keep me signed in on this computer")),
      h("button", { type: "submit", className: "primary" }, "Sign in")))));
  document.title = "Sign in · routinectl";
  field.focus();
}

async function begin() {
  try {
    const [found] = await Promise.all([get("/me"), store.load()]);
    Object.assign(me, found);
    setClock(me.now);
  } catch (error) {
    if (error.status === 401) { setToken(""); login("This token is not known, revoked, or over."); } else login(error.message);
    return;
  }
  frame();
  store.open();
  store.listen(heard);
  await show();
}

function leave() {
  store.close();
  setToken("");
  location.hash = "";
  location.reload();
}

// -- the frame

const live = h("span", { className: "live", role: "status" });
const waiting = h("span", { className: "count" });

function frame() {
  app.className = "inside";
  const theme = h("button", { type: "button", className: "plain", onclick: () => {
    setTheme(THEMES[(THEMES.indexOf(localStorage.getItem(THEME) || "system") + 1) % THEMES.length]);
    theme.textContent = themeText();
  } }, themeText());
  fill(app,
    h("header", { className: "side" },
      h("div", { className: "brand" }, h("img", { src: ICON, alt: "" }), h("span", {}, "routinectl", h("small", {}, me.workspace))),
      h("nav", { aria: { label: "Main" } }, h("ul", {}, PLACES.map(([href, text]) => h("li", {}, h("a", { href }, text, text === "Approvals" ? waiting : null))))),
      h("div", { className: "foot" }, live, h("span", {}, me.sees_all ? me.role : `${me.role}: ${me.owner}`), h("div", { className: "inline" }, theme, h("button", { type: "button", className: "plain", onclick: leave }, "Sign out")))),
    h("main", { id: "content", tabIndex: -1 }));
  state();
}

const themeText = () => `Colours: ${localStorage.getItem(THEME) || "system"}`;

function state() {
  live.dataset.state = store.state;
  const text = { live: me.serve_alive === false ? "Live, but no serve runs" : "Live", stale: `Stale since ${new Date(store.since).toLocaleTimeString("en-GB")}`, loading: "Connecting" }[store.state];
  if (live.textContent !== text) live.textContent = text;
  const count = [...store.rows.values()].reduce((sum, row) => sum + (row.status === "draft" || row.badges.includes("approval") ? 1 : 0) + row.proposals + (row.reviews ? 1 : 0), 0);
  fill(waiting, count ? [String(count), hidden(" waiting")] : null);
  waiting.hidden = !count;
}

async function heard(events) {
  if (events.some((event) => event.type === "token.refused")) { setToken(""); login("Your token was revoked, or is over."); return; }
  if (events.some((event) => event.type.startsWith("serve.") || event.type === "connected")) await get("/me").then((found) => {
    if (found.role !== me.role || found.owner !== me.owner) location.reload(); // other rights: nothing of what is shown may stay
    setClock(found.now);
    Object.assign(me, found);
  }, () => {});
  state();
  view?.update(events);
}

/** Take the token of a sign-in link, `#token=...` or `#token=...&to=/routines/x`; right or wrong, it stays neither in the address nor in the history. */
function tokenOfLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("token")) return false;
  const to = given.get("to") || "";
  history.replaceState(null, "", to.startsWith("/") ? `/#${to}` : "/");
  setToken(given.get("token"));
  return true;
}

// -- where one is

function close() {
  view?.close();
  view = null;
}

async function show() {
  const mine = ++showing;
  const hash = location.hash;
  const [pattern, make] = ROUTES.find(([regexp]) => regexp.test(hash)) || [/.*/, async () => missing()];
  close();
  for (const link of document.querySelectorAll(".side nav a")) {
    const here = link.getAttribute("href") === "#/" ? /^$|^#\/?$|^#\/(routines|new)/.test(hash) : hash.startsWith(link.getAttribute("href"));
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  let made;
  try {
    made = await make(...(hash.match(pattern) || []).slice(1).map(decodeURIComponent));
  } catch (error) {
    if (error.status === 401) { setToken(""); login("Your token was revoked, or is over."); return; }
    if (error.status === undefined) throw error;
    made = fault(error);
  }
  if (mine !== showing) { made.close(); return; }
  view = made;
  document.title = `${made.title} · routinectl`;
  const main = document.getElementById("content");
  fill(main, made.node);
  if (hash) main.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

const still = (title, node) => ({ title, node, update: () => {}, close: () => {} });
const missing = () => still("Not here", h("div", { className: "empty" }, h("h1", { tabIndex: -1 }, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "All routines"))));
const fault = (error) => still("Not here", h("div", { className: "empty" }, h("h1", { tabIndex: -1 }, error.status === 404 ? "There is no such thing" : "That did not work"), h("p", {}, error.message), h("p", {}, h("a", { className: "button", href: "#/" }, "All routines"))));

setTheme(localStorage.getItem(THEME) || "system");
addEventListener("hashchange", () => { if (tokenOfLink()) { close(); store.close(); begin(); } else if (hasToken()) show(); });
addEventListener("unhandledrejection", (event) => { toast(`Something went wrong here: ${event.reason?.message || event.reason}`, true); });
setInterval(() => { if (!document.hidden) tick(); }, 1000);
tokenOfLink();
if (hasToken()) begin(); else login();
