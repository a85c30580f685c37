// All routines, as cards or as a table: search, filters, order. Only what is looked at is drawn.

import { ago, badges, fill, h, pill, spark, ticking, tone, when, words } from "./dom.js";
import { mayDraft, mayWrite, me, remove, runNow, toggle } from "./actions.js";
import { store } from "./server.js";

const STEP = 24;
const wanted = { text: "", status: "", tag: "", order: "next", table: localStorage.getItem("routinectl.table") === "1" };

const NEEDS = (row) => ["invalid", "draft", "pending_approval"].includes(row.status) || row.proposals || row.reviews || row.badges.includes("OVERDUE")
  || tone(row.last_outcome) === "bad";
const STATES = [["", "All"], ["needs", "Needs a look"], ["active", "Active"], ["paused", "Paused"], ["disabled", "Disabled"], ["draft", "Drafts"],
  ["pending_approval", "Waits for approval"], ["invalid", "Broken"], ["completed", "Completed"]];
const LAST = "9999";
const ORDERS = {
  next: ["Next fire", (a, b) => ((a.next_fire_at || LAST) < (b.next_fire_at || LAST) ? -1 : (a.next_fire_at || LAST) > (b.next_fire_at || LAST) ? 1 : 0)],
  name: ["Name", (a, b) => a.name.localeCompare(b.name)],
  last: ["Last run", (a, b) => ((a.last_run_at || "") > (b.last_run_at || "") ? -1 : (a.last_run_at || "") < (b.last_run_at || "") ? 1 : 0)],
};

function fits(row) {
  if (wanted.status === "needs" ? !NEEDS(row) : wanted.status && row.status !== wanted.status) return false;
  if (wanted.tag && !row.tags.includes(wanted.tag)) return false;
  const text = wanted.text.toLowerCase();
  return !text || `${row.id}\n${row.name}\n${row.description}\n${row.describe}\n${row.agent}`.toLowerCase().includes(text);
}

export function routines() {
  let shown = STEP;
  const drawn = new Map(); // id -> [row, node]
  const count = h("p", { className: "soft small", role: "status" });
  const place = h("div");
  const sentinel = h("div", { className: "more" });
  const watcher = new IntersectionObserver((seen) => { if (seen.some((item) => item.isIntersecting)) more(); }, { rootMargin: "600px" });

  const redraw = () => { shown = STEP; draw(); };
  const search = h("input", { type: "search", placeholder: "Search", value: wanted.text, aria: { label: "Search routines" },
    oninput: () => { wanted.text = search.value; redraw(); } });
  const choose = (label, key, choices) => {
    const select = h("select", { aria: { label }, onchange: () => { wanted[key] = select.value; redraw(); } },
      choices.map(([value, text]) => h("option", { value, selected: wanted[key] === value }, text)));
    return select;
  };
  const tags = [...new Set([...store.rows.values()].flatMap((row) => row.tags))].sort();
  if (!tags.includes(wanted.tag)) wanted.tag = "";
  const faces = h("div", { className: "tabs", role: "group", aria: { label: "Shown as" } }, [["Cards", false], ["Table", true]].map(([text, table]) =>
    h("button", { type: "button", aria: { pressed: String(wanted.table === table) }, onclick: (event) => {
      wanted.table = table;
      localStorage.setItem("routinectl.table", table ? "1" : "0");
      for (const node of faces.children) node.setAttribute("aria-pressed", String(node === event.currentTarget));
      drawn.clear();
      fill(place);
      draw();
    } }, text)));

  function found() {
    return [...store.rows.values()].filter(fits).sort(ORDERS[wanted.order][1]);
  }

  function more() {
    if (shown < found().length) { shown += STEP; draw(); }
  }

  function draw() {
    const rows = found();
    const total = store.rows.size;
    count.textContent = rows.length === total ? `${total} ${total === 1 ? "routine" : "routines"}` : `${rows.length} of ${total} routines`;
    if (!rows.length) {
      fill(place, total ? nothing() : empty());
      drawn.clear();
      return;
    }
    const visible = rows.slice(0, shown);
    let list = place.querySelector("[data-list]");
    if (!list) {
      list = wanted.table ? h("tbody", { data: { list: "" } }) : h("ul", { className: "cards", data: { list: "" } });
      fill(place, wanted.table ? table(list) : list);
    }
    const focus = document.activeElement?.closest?.("[data-list]") ? [document.activeElement.closest("[data-id]")?.dataset.id, document.activeElement.dataset.act] : null;
    const nodes = visible.map((row) => {
      const before = drawn.get(row.id);
      if (before && before[0] === row) return before[1];
      const node = wanted.table ? line(row) : card(row);
      drawn.set(row.id, [row, node]);
      return node;
    });
    if (nodes.length !== list.children.length || nodes.some((node, index) => list.children[index] !== node)) fill(list, nodes);
    if (focus) list.querySelector(`[data-id="${focus[0]}"] [data-act="${focus[1]}"]`)?.focus({ preventScroll: true });
    if (shown < rows.length) { place.after(sentinel); watcher.observe(sentinel); } else sentinel.remove();
  }

  const nothing = () => h("div", { className: "empty" }, h("h2", {}, "Nothing fits"), h("p", {}, "No routine has all that is asked for."),
    h("button", { type: "button", onclick: () => { Object.assign(wanted, { text: "", status: "", tag: "" }); location.reload(); } }, "Show all"));
  const empty = () => h("div", { className: "empty" }, h("h2", {}, store.none || "No routines yet"),
    h("p", {}, me.sees_all ? "" : "This token sees the routines of one owner: another token may see more (routinectl token create --owner NAME). ", "A routine is work that comes again: a command, a prompt or an agent, on a clock or when something happens."),
    mayDraft() ? h("a", { className: "button primary", href: "#/new" }, "Create the first one") : h("p", {}, "Your token may only read."));

  draw();
  const view = h("div", {},
    h("div", { className: "head" }, h("div", {}, h("h1", { tabIndex: -1 }, "Routines"), count),
      mayDraft() && h("div", { className: "actions" }, h("a", { className: "button primary", href: "#/new" }, "New routine"))),
    h("div", { className: "bar" }, search, choose("Status", "status", STATES),
      tags.length ? choose("Tag", "tag", [["", "All tags"], ...tags.map((tag) => [tag, tag])]) : null,
      choose("Order", "order", Object.entries(ORDERS).map(([key, [text]]) => [key, `By ${text.toLowerCase()}`])), faces),
    place);
  return { title: "Routines", node: view, update: draw, close: () => watcher.disconnect() };
}

const status = (row) => h("span", { className: `pill ${tone(row.status)}`, title: row.reason }, words(row.status));

function lastResult(row) {
  if (!row.last_outcome) return h("span", { className: "soft" }, "none yet");
  return [h("span", { className: tone(row.last_outcome) }, words(row.last_outcome)), " ", row.last_run_at && h("span", { className: "soft" }, ticking(row.last_run_at, "ago"))];
}

function next(row) {
  if (!row.next_fire_at) return h("span", { className: "soft" }, row.status === "paused" ? (row.paused_until ? `paused until ${when(row.paused_until, row.timezone)}` : "paused") : "none planned");
  return [ticking(row.next_fire_at), h("span", { className: "soft" }, ` · ${when(row.next_fire_at, row.timezone)} ${row.timezone}`)];
}

function enabledSwitch(row) {
  return h("button", { type: "button", className: "switch", role: "switch", disabled: !mayWrite() || row.status === "invalid",
    aria: { checked: String(row.enabled), label: `${row.name} is ${row.enabled ? "enabled" : "disabled"}` }, data: { act: "toggle" }, onclick: () => toggle(row) });
}

function card(row) {
  const named = (text) => ({ label: `${text} ${row.name}` });
  return h("li", { className: "card", data: { id: row.id } },
    h("header", {}, h("h2", {}, h("a", { href: `#/routines/${row.id}`, data: { act: "open" } }, row.name)), status(row)),
    row.description && h("p", { className: "about" }, row.description),
    row.status === "invalid" && h("p", { className: "bad small" }, row.reason),
    h("dl", {}, h("dt", {}, "When"), h("dd", {}, row.describe || row.schedule), h("dt", {}, "Next"), h("dd", {}, next(row)),
      h("dt", {}, "Last"), h("dd", {}, lastResult(row)), h("dt", {}, "Runs"), h("dd", {}, spark(row.recent))),
    h("div", { className: "pills" }, badges(row), row.tags.map((tag) => pill(`#${tag}`))),
    h("footer", {}, enabledSwitch(row), h("div", { className: "actions" },
      mayWrite() && h("button", { type: "button", className: "plain", aria: named("Run"), data: { act: "run" }, onclick: () => runNow(row) }, "Run"),
      mayDraft() && h("a", { className: "button plain", aria: named("Edit"), data: { act: "edit" }, href: `#/routines/${row.id}/edit` }, "Edit"),
      mayWrite() && h("button", { type: "button", className: "plain danger", aria: named("Delete"), data: { act: "delete" }, onclick: () => remove(row) }, "Delete"))));
}

const table = (body) => h("div", { className: "sheet wide" }, h("table", {}, h("thead", {}, h("tr", {},
  ["Status", "Name", "When", "Next", "Last", "Runs", ""].map((text) => h("th", { scope: "col" }, text)))), body));

function line(row) {
  return h("tr", { data: { id: row.id } }, h("td", {}, status(row)),
    h("td", {}, h("a", { href: `#/routines/${row.id}`, data: { act: "open" } }, row.name), " ", h("span", { className: "pills" }, badges(row))),
    h("td", {}, row.describe || row.schedule),
    h("td", { className: "nowrap", title: row.next_fire_at ? `${when(row.next_fire_at, row.timezone)} ${row.timezone}` : "" }, row.next_fire_at ? ticking(row.next_fire_at) : h("span", { className: "soft" }, "–")),
    h("td", { className: "nowrap", title: row.last_run_at ? ago(row.last_run_at) : "" }, lastResult(row)), h("td", {}, spark(row.recent)),
    h("td", { className: "nowrap" }, mayWrite() && h("button", { type: "button", aria: { label: `Run ${row.name}` }, data: { act: "run" }, onclick: () => runNow(row) }, "Run")));
}
