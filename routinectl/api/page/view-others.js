// What is about more than one routine: what waits for a person, agents, budgets, the health of it all.

import { ago, badges, diff, faults, fill, h, pill, ticking, tone, when, words, yaml } from "./dom.js";
import { applyProposal, approve, cancel, deny, mayWrite, me, rejectProposal, review } from "./actions.js";
import { get, routine as path, store } from "./server.js";

/** A view that is drawn anew whenever an event of these kinds comes. */
function redrawn(title, draw, kinds) {
  const place = h("div");
  const again = async () => fill(place, await draw(again));
  return again().then(() => ({
    title, node: place, close: () => {},
    update: (events) => { if (events.some((event) => event.type === "connected" || kinds.some((kind) => event.type.startsWith(kind)))) again().catch(() => {}); },
  }));
}

const head = (title, text) => h("div", { className: "head" }, h("div", {}, h("h1", { tabIndex: -1 }, title), h("p", { className: "soft" }, text)));
const link = (id) => h("a", { href: `#/routines/${id}` }, store.rows.get(id)?.name || id);
const empty = (title, text) => h("div", { className: "empty" }, h("h2", {}, title), h("p", {}, text));

export const approvals = () => redrawn("Approvals", async (again) => {
  const [asked, proposed, held] = await Promise.all([get("/approvals"), get("/proposals"), get("/reviews")]);
  const reviews = Map.groupBy(held.items, (item) => item.id);
  const whole = await Promise.all(proposed.items.map((item) => get(`/proposals/${item.proposal}`).catch(() => item)));
  const texts = await Promise.all(asked.items.map((item) => get(path(item.id, "/definition")).catch(() => null)));
  return [head("Approvals", "What waits for a person's yes."),
    !asked.items.length && !whole.length && !reviews.size && empty("Nothing waits", "Drafts of agents, runs that need approval, proposed changes and slots to review come here."),
    ...[...reviews].map(([id, items]) => late(id, items, again)),
    ...asked.items.map((item, index) => question(item, texts[index], again)), ...whole.map((item) => proposal(item, again))];
}, ["approval.", "proposal.", "routine.", "slot."]);

/** What of a routine waits for review: slots that are old, or whose verdict may be lost. */
function late(id, items, again) {
  const row = store.rows.get(id) || { id, name: id, badges: [] };
  const doing = (run) => async () => { if (await review(items[0], run)) await again(); };
  return h("section", { className: "sheet" }, h("div", { className: "head" },
    h("div", {}, h("h2", {}, link(id)), h("p", { className: "small" }, items.length === 1 ? "One waits for review" : `${items.length} wait for review`, ", ", ticking(items[0].since, "ago")), h("div", { className: "pills" }, badges(row))),
    mayWrite() && h("div", { className: "actions" }, h("button", { type: "button", className: "primary", onclick: doing(true) }, "Run"), h("button", { type: "button", className: "danger", onclick: doing(false) }, "Dismiss"))),
  h("ul", {}, items.slice(0, 50).map((item) => h("li", {}, item.slot ? when(item.slot, row.timezone) : item.request, h("span", { className: "soft" }, `: ${item.words}`)))),
  items.length > 50 && h("p", { className: "soft small" }, `and ${items.length - 50} more`));
}

function question(item, text, again) {
  const row = store.rows.get(item.id) || { id: item.id, name: item.id, badges: [] };
  const draft = item.what === "draft";
  const doing = (act) => async () => { if (await act(row)) await again(); };
  return h("section", { className: "sheet" }, h("div", { className: "head" },
    h("div", {}, h("h2", {}, link(item.id)), h("p", { className: "small" }, draft ? `A draft by ${item.by || "an agent"}` : `Approval ${words(item.what)}`, ", ", ticking(item.at, "ago"), item.expires && h("span", { className: "soft" }, ` · over ${when(item.expires)}`)),
      h("div", { className: "pills" }, badges(row))),
    mayWrite() && h("div", { className: "actions" }, h("button", { type: "button", className: "primary", onclick: doing(approve) }, draft ? "Activate" : "Approve"),
      draft ? null : h("button", { type: "button", className: "danger", onclick: doing(deny) }, "Deny"))),
  h("p", {}, row.describe || ""), item.holds?.length ? h("p", { className: "small soft" }, `Waiting: ${item.holds.join(", ")}`) : null, text && yaml(text.text, text.problems));
}

function proposal(item, again) {
  const edits = item.patch !== undefined;
  const may = mayWrite() && (!edits || me.role === "admin");
  return h("section", { className: "sheet" }, h("div", { className: "head" },
    h("div", {}, h("h2", {}, words(item.what), " · ", link(item.routine)), h("p", { className: "small" }, `Proposed by ${item.by}, `, ticking(item.at, "ago"), item.reason && ` · ${item.reason}`)),
    may ? h("div", { className: "actions" }, h("button", { type: "button", className: "primary", onclick: async () => { if (await applyProposal(item)) await again(); } }, "Apply"),
      h("button", { type: "button", className: "danger", onclick: async () => { if (await rejectProposal(item)) await again(); } }, "Reject"))
      : mayWrite() && h("p", { className: "soft small" }, "Edits are applied by an admin.")),
  item.files?.length ? h("p", { className: "small soft" }, `Files: ${item.files.map((file) => `${file.path} (${file.added === null ? "binary" : `+${file.added} -${file.removed}`})`).join(", ")}`) : null,
  edits ? diff(item.patch) : item.payload || item.call ? h("pre", {}, JSON.stringify(item.call || item.payload, null, 2)) : null);
}

export const agents = () => redrawn("Agents", async () => {
  const { items } = await get("/agents");
  return [head("Agents", "Saved in agents/<name>/AGENT.md: a model, its tools, and how far it may go."),
    items.length ? h("ul", { className: "cards" }, items.map(agent)) : empty("No agents yet", "Write agents/reviewer/AGENT.md, try it with routinectl agents run reviewer, then put it on a clock.")];
}, ["routine."]);

function agent(item) {
  const fact = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
  return h("li", { className: "card" }, h("header", {}, h("h2", {}, item.name), item.valid ? null : pill("broken", "bad")), h("p", { className: "about" }, item.description),
    item.valid ? h("dl", {}, fact("Model", item.model), fact("Tools", item.tools.join(", ") || "none"), fact("May", item.may), fact("Budget", Object.entries(item.budget).map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(", ")),
      fact("Used by", item.routines.length ? item.routines.map((id, index) => [index ? ", " : "", link(id)]) : "no routine")) : faults(item.problems.map((problem) => ({ ...problem, message: `${problem.where}: ${problem.message}` }))),
    h("div", { className: "pills" }, item.external && item.external !== "none" ? pill("↗ acts outside", "warn") : null));
}

export const budgets = () => redrawn("Budgets", async () => {
  const { items } = await get("/budgets");
  return [head("Budgets", "What may be spent in a day, and what the day would come to if it went on like this."),
    items.length ? h("div", { className: "sheet wide" }, h("table", {}, h("thead", {}, h("tr", {}, ["Budget of", "In", "Used", "Share", "Reserved", "Cap", "Forecast", "Day"].map((text) => h("th", { scope: "col", className: ["Used", "Reserved", "Cap", "Forecast"].includes(text) ? "number" : "" }, text)))),
      h("tbody", {}, items.map((row) => h("tr", {}, h("td", {}, row.tags ? [row.id, h("span", { className: "soft" }, ` shared: ${row.tags.join(", ")}`)] : link(row.id)), h("td", {}, words(row.what)), h("td", { className: "number" }, row.words.used),
        h("td", {}, h("progress", { max: row.cap || 1, value: Math.min(row.used + row.reserved, row.cap), className: row.left <= 0 ? "full" : "", aria: { label: `${row.words.used} of ${row.words.cap} ${row.what} used` } })),
        h("td", { className: "number" }, row.words.reserved), h("td", { className: "number" }, row.words.cap), h("td", { className: `number ${row.forecast > row.cap ? "warn" : ""}` }, row.forecast === null ? "–" : row.words.forecast),
        h("td", { className: "nowrap soft" }, `${row.day} ${row.timezone}`))))))
      : empty("No budgets", "A routine may have one: budget: {per_day: {runs: 24, tokens: 100000, cost_usd: 2, cpu: 1h}}")];
}, ["budget.", "run.", "routine."]);

export const health = () => redrawn("Health", async () => {
  const found = await get("/status");
  me.serve_alive = found.serve.alive;
  const section = (title, items, draw, none) => h("section", { className: "sheet" }, h("h2", {}, title), items.length ? draw(items) : h("p", { className: "soft" }, none));
  const table = (names, rows) => h("div", { className: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, names.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell)))))));
  return [head("Health", `${found.workspace}, at ${found.now}`),
    found.serve.alive ? h("p", { className: "notice calm" }, `A serve is alive (process ${found.serve.pid}), since ${found.serve.since ? ago(found.serve.since) : "?"}.`)
      : h("p", { className: "notice bad" }, "No serve is running: nothing fires. Start one: routinectl serve --http"),
    found.clock.suspect && h("p", { className: "notice bad" }, `The clock went back: the journal is ${found.clock.journal_ahead_seconds} s ahead of it.`),
    section("What needs a look", found.health, (items) => table(["How many", "What", "What helps"], items.map((item) => [String(item.count), item.what, h("code", {}, item.command)])), "Nothing does."),
    section(`Running (at most ${found.max_concurrent_runs} at once)`, found.running, (items) => table(["Routine", "Since", "Until", ""], items.map((item) => [link(item.id), h("a", { href: `#/routines/${item.id}/runs/${item.run}` }, ticking(item.since, "ago")), item.until ? ticking(item.until) : "–",
      mayWrite() ? h("button", { type: "button", className: "danger", onclick: () => cancel(item.id, item.run) }, "Stop") : ""])), "Nothing runs."),
    section("Held slots", found.held, (items) => table(["Routine", "Slot", "Why"], items.slice(0, 100).map((item) => [link(item.id), item.slot, words(item.reason)])), "None."),
    section("Broken definitions", found.broken, (items) => items.map((item) => h("div", {}, h("h3", {}, link(item.id)), faults(item.problems.map((problem) => (typeof problem === "string" ? { message: problem } : problem))), h("p"))), "None."),
    section("Routines", Object.entries(found.routines), (items) => h("div", { className: "pills" }, items.map(([state, count]) => pill(`${count} ${words(state)}`, tone(state)))), "There are none.")];
}, ["run.", "slot.", "routine.", "serve.", "approval.", "clock."]);
