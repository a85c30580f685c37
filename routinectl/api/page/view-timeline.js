// All routines on one axis: what happened to the left of now, what is planned to the right, and where too much comes at once.

import { fill, h, svg, tone, words } from "./dom.js";
import { get, store } from "./server.js";

const HOUR = 3600_000;
// name -> [hours before now, hours after it, cells]
const ZOOMS = { "6 hours": [6, 6, 144], "24 hours": [24, 24, 192], "7 days": [168, 168, 168], "90 days": [2160, 720, 120] };
const MOST = 100;
let zoom = "24 hours";
let text = "";

const COLOURS = { good: "good", bad: "bad", warn: "warn", accent: "planned" };
const mark = (kind) => (kind === "planned" ? "planned" : COLOURS[tone(kind)] || "");

export async function timeline() {
  const place = h("div");
  const search = h("input", { type: "search", value: text, placeholder: "Search", aria: { label: "Only routines with" }, oninput: () => { text = search.value; draw(); } });
  const faces = h("div", { className: "tabs", role: "group", aria: { label: "How much time" } }, Object.keys(ZOOMS).map((name) => h("button", { type: "button", aria: { pressed: String(name === zoom) }, onclick: (event) => {
    zoom = name;
    for (const node of faces.children) node.setAttribute("aria-pressed", String(node === event.currentTarget));
    draw();
  } }, name)));
  let number = 0;

  async function draw() {
    const mine = ++number;
    const [before, after, cells] = ZOOMS[zoom];
    const rows = [...store.rows.values()].filter((row) => `${row.id} ${row.name}`.toLowerCase().includes(text.toLowerCase()));
    if (!rows.length) {
      fill(place, h("div", { className: "empty" }, h("h2", {}, store.rows.size ? "Nothing fits" : store.none || "No routines yet"), h("p", {}, "Here is what every routine did, and what is to come.")));
      return;
    }
    // Those that fire soonest, or have run last, come first.
    const shown = rows.sort((a, b) => ((a.next_fire_at || "9") < (b.next_fire_at || "9") ? -1 : 1)).slice(0, MOST);
    const now = Date.now();
    const asked = new URLSearchParams({ from: new Date(now - before * HOUR).toISOString().replace(/\.\d+/, ""), to: new Date(now + after * HOUR).toISOString().replace(/\.\d+/, ""), cells, ids: shown.map((row) => row.id).join(",") });
    const found = await get(`/timeline?${asked}`);
    if (mine === number) fill(place, picture(found, rows.length));
  }

  await draw();
  const view = h("div", {}, h("div", { className: "head" }, h("div", {}, h("h1", { tabIndex: -1 }, "Timeline"), h("p", { className: "soft" }, "What happened, what is planned, and where it comes all at once."))), h("div", { className: "bar" }, search, faces), place);
  let timer = null;
  return { title: "Timeline", node: view, close: () => clearTimeout(timer),
    update: (events) => { if (events.length && !timer) timer = setTimeout(() => { timer = null; draw().catch(() => {}); }, 1000); } };
}

function picture(found, total) {
  const start = new Date(found.from).getTime();
  const step = (new Date(found.to).getTime() - start) / found.cells;
  const cellText = (cell) => new Date(start + cell * step).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const middle = (new Date(found.now).getTime() - start) / step;
  const box = (height, label, ...children) => svg("svg", { viewBox: `0 0 ${found.cells} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...children,
    svg("line", { x1: middle, x2: middle, y1: 0, y2: height, class: "now", "vector-effect": "non-scaling-stroke" }));
  const lanes = found.rows.map((row) => {
    const counts = new Map();
    for (const [, kind, count] of row.marks) counts.set(kind, (counts.get(kind) || 0) + count);
    const label = `${row.name}: ${[...counts].map(([kind, count]) => `${count} ${words(kind)}`).join(", ") || "nothing"}`;
    return [h("div", {}, h("a", { href: `#/routines/${row.id}`, title: row.name }, row.name)), h("div", { className: "lane" }, box(20, label, row.marks.map(([cell, kind, count]) =>
      svg("rect", { x: cell + 0.1, y: 4, width: 0.8, height: 12, class: `mark ${mark(kind)}`, "vector-effect": "non-scaling-stroke" }, svg("title", {}, `${cellText(cell)}: ${count > 1 ? `${count}, ` : ""}${words(kind)}`)))))];
  });
  const top = Math.max(...found.load, 1);
  const crowded = found.load.filter((count) => count > found.places).length;
  const load = found.load.map((count, cell) => count ? svg("rect", { x: cell + 0.1, y: 26 - (24 * count) / top, width: 0.8, height: (24 * count) / top, class: `mark ${count > found.places ? "crowd" : "load"}` }, svg("title", {}, `${cellText(cell)}: ${count} start in one minute`)) : null);
  const key = (kind, label) => h("span", {}, svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { x: 1, y: 1, width: 8, height: 8, class: `mark ${kind}` })), label);
  return [h("div", { className: "sheet wide", tabIndex: 0, role: "region", aria: { label: "Timeline" } }, h("div", { className: "lanes" },
    h("div", {}, h("span", { className: "soft small" }, "Local time")), h("div", { className: "lane axis" }, axis(start, step * found.cells)),
    h("div", {}, h("span", { className: "soft small" }, "Starts in one minute")), h("div", { className: "lane load" }, box(26, `Planned starts in one minute; at most ${top}`, load)), lanes)),
  h("p", { className: "legend" }, key("good", "succeeded"), key("bad", "failed or missed"), key("warn", "skipped or held"), key("", "quiet"), key("planned", "planned"), crowded ? key("crowd", `more starts in one minute than the ${found.places} places`) : null),
  total > found.rows.length && h("p", { className: "soft small" }, `${found.rows.length} of ${total} routines, those that fire soonest; search for others.`)];
}

/** The hours or days along the axis; text is placed in shares of its width, so that it is not stretched. */
function axis(start, length) {
  const wide = length > 4 * 24 * HOUR;
  const every = wide ? Math.ceil(length / (24 * HOUR) / 8) * 24 * HOUR : Math.ceil(length / HOUR / 8) * HOUR;
  const first = new Date(start);
  first.setMinutes(0, 0, 0);
  if (wide) first.setHours(0);
  const marks = [];
  for (let at = first.getTime(); at < start + length; at += every) {
    if (at < start) continue;
    const date = new Date(at);
    const label = wide ? date.toLocaleDateString("en-GB", { day: "numeric", month: "short" }) : date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    const share = ((at - start) / length) * 100;
    if (share < 96) marks.push(svg("line", { x1: `${share}%`, x2: `${share}%`, y1: 16, y2: 28, class: "tick" }), svg("text", { x: `${share}%`, dx: 3, y: 18 }, label));
  }
  return svg("svg", { role: "img", "aria-label": "Time" }, marks);
}
