// Elements, times and words. Text only ever becomes text: there is no way here to make markup of a string.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. Properties that begin with "on" are listeners; `data`, `aria` hold attributes of those families. */
export function h(tag, props = {}, ...children) {
  return build(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(node, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "data" || key === "aria") for (const [name, text] of Object.entries(value)) node.setAttribute(`${key}-${name}`, text);
    else if (key in node && !(node instanceof SVGElement) && key !== "list") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...solid(children));
  return node;
}

/** What is to be shown of children: what is not there is left out, and never shown as a word. */
const solid = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "" && !Number.isNaN(child));

/** Put these, and nothing else, into an element. */
export function fill(node, ...children) {
  node.replaceChildren(...solid(children));
}

export const pill = (text, kind = "") => h("span", { className: `pill ${kind}` }, text);
export const hidden = (text) => h("span", { className: "hidden-text" }, text);

/** What a status or an outcome is to people: good, bad, warn, accent or nothing. */
export function tone(word) {
  if (["succeeded", "active"].includes(word)) return "good";
  if (["failed", "timed_out", "over_budget", "interrupted", "invalid", "denied", "not_started", "missed"].includes(word)) return "bad";
  if (["paused", "pending_approval", "draft", "cancelled", "held", "skipped"].includes(word)) return "warn";
  return ["running", "planned"].includes(word) ? "accent" : "";
}

export const words = (text) => (text || "").replaceAll("_", " ");

// -- times: stored in UTC, shown in the zone of the routine, with its name

const formats = new Map();

function format(zone, options) {
  const key = zone + JSON.stringify(options);
  if (!formats.has(key)) {
    try {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone || undefined, ...options }));
    } catch {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options })); // a zone this browser does not know
    }
  }
  return formats.get(key);
}

/** An instant as `Mon 23 Nov, 09:00`, in a zone; with the year when it is not this one. */
export function when(iso, zone) {
  const at = new Date(iso);
  if (!iso || Number.isNaN(at.getTime())) return "–";
  const year = at.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return format(zone, { weekday: "short", day: "numeric", month: "short", year, hour: "2-digit", minute: "2-digit" }).format(at);
}

export function clockTime(iso, zone) {
  return format(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(iso));
}

/** Seconds as people say them: `4 s`, `3 min`, `2 h 5 min`, `3 d 4 h`. */
export function span(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  if (Number.isNaN(whole)) return "–";
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole < 600 && whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

let skew = 0; // what the server's clock is ahead of this one's, in milliseconds

export function setClock(iso) {
  skew = new Date(iso).getTime() - Date.now();
}

export const now = () => Date.now() + skew;

export function ago(iso) {
  const seconds = (now() - new Date(iso).getTime()) / 1000;
  return seconds < 2 ? "just now" : `${span(seconds)} ago`;
}

export function until(iso) {
  const seconds = (new Date(iso).getTime() - now()) / 1000;
  return seconds <= 0 ? "due" : `in ${span(seconds)}`;
}

/** An element that says how long ago, or in how long, and goes on doing so. */
export function ticking(iso, kind = "until") {
  return h("time", { dateTime: iso, data: { tick: kind } }, kind === "until" ? until(iso) : ago(iso));
}

export function tick() {
  for (const node of document.querySelectorAll("time[data-tick]")) {
    const text = node.dataset.tick === "until" ? until(node.dateTime) : ago(node.dateTime);
    if (node.textContent !== text) node.textContent = text;
  }
}

// -- things that several views show

const NAMES = { s: "succeeded", q: "quiet", f: "failed", t: "timed out", c: "cancelled", i: "interrupted", n: "not started", o: "over budget", d: "denied" };
const CLASSES = { s: "s", q: "q", c: "c" };

/** The last thirty runs: low and calm when they were good, tall when they were not. */
export function spark(recent) {
  const bad = [...recent].filter((letter) => !"sq".includes(letter)).length;
  const label = recent ? `The last ${recent.length} runs: ${bad ? `${bad} not good` : "all good"}; the last one ${NAMES[recent.at(-1)]}` : "No runs yet";
  const bars = [...recent.padStart(30, " ")].map((letter, index) => {
    const height = letter === " " ? 2 : "sq".includes(letter) ? 8 : 18;
    return svg("rect", { x: index * 5, y: 18 - height, width: 3.5, height, rx: 1, class: letter === " " ? "none" : CLASSES[letter] || "f" });
  });
  return svg("svg", { class: "spark", viewBox: "0 0 149 18", preserveAspectRatio: "none", role: "img", "aria-label": label }, bars);
}

export function badges(row) {
  const found = [];
  for (const badge of row.badges || []) {
    if (badge === "external") found.push(h("span", { className: "pill warn", title: "Its runs may have effects outside this machine." }, "↗ acts outside"));
    else found.push(pill(badge === "OVERDUE" ? "overdue" : badge === "approval" ? "waits for approval" : badge, "warn"));
  }
  if (row.proposals) found.push(pill(row.proposals === 1 ? "1 proposal" : `${row.proposals} proposals`, "warn"));
  if (row.reviews) found.push(pill(`${row.reviews} to review`, "warn"));
  if (row.running) found.push(pill("running", "accent"));
  if (row.agent) found.push(pill(`agent ${row.agent}`));
  else if (row.action === "prompt" || row.action === "agent") found.push(pill(row.action));
  return found;
}

/** YAML with its keys and comments coloured, and the lines of its faults marked. */
export function yaml(text, problems = []) {
  const faulty = new Map(problems.filter((item) => item.line).map((item) => [item.line, item]));
  const lines = text.replace(/\n$/, "").split("\n").map((line, index) => {
    const fault = faulty.get(index + 1);
    const comment = line.match(/^(\s*)(#.*)$/);
    const pair = line.match(/^(\s*(?:- )?)([\w."'-]+)(:(?:\s.*)?)$/);
    const parts = comment ? [comment[1], h("span", { className: "comment" }, comment[2])]
      : pair ? [pair[1], h("span", { className: "key" }, pair[2]), pair[3]] : [line];
    return [h("span", fault ? { className: "faulty", title: fault.message } : {}, parts), "\n"];
  });
  return h("pre", { className: "yaml", tabIndex: 0, aria: { label: "Definition" } }, lines);
}

export function faults(problems) {
  return h("ul", { className: "faults" }, problems.map((item) => h("li", {},
    item.line ? h("strong", {}, `Line ${item.line}: `) : item.path ? h("strong", {}, `${item.path}: `) : "", item.message,
    item.hint && h("span", { className: "hint" }, "Try: ", h("code", {}, item.hint)))));
}

/** A patch, line by line; what is added or removed is also said by its sign, not by colour alone. */
export function diff(text) {
  const kind = (line) => (/^(diff |\+\+\+|---)/.test(line) ? "file" : line.startsWith("@@") ? "place" : line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "");
  return h("pre", { className: "diff", tabIndex: 0, aria: { label: "Changes" } }, text.replace(/\n$/, "").split("\n").map((line) => h("span", { className: kind(line) }, line || " ")));
}

export function fires(list) {
  if (!list.length) return h("p", { className: "soft" }, "No fire is planned.");
  return h("ol", { className: "fires" }, list.map((fire) => h("li", {},
    h("span", {}, localText(fire.local), fire.note && h("span", { className: "warn small" }, ` · ${fire.note}`)),
    h("span", { className: "soft" }, ticking(fire.due)))));
}

/** `2026-11-23T09:00:00+01:00` as `Mon 2026-11-23 09:00 +01:00`: the wall clock of the routine's own zone. */
function localText(local) {
  const [, day, time, seconds, offset] = local.match(/^([\d-]+)T(\d\d:\d\d)(:\d\d)?(?:\.\d+)?(.*)$/);
  const name = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][new Date(`${day}T12:00:00Z`).getUTCDay()];
  return `${name} ${day} ${time}${seconds && seconds !== ":00" ? seconds : ""} ${offset === "Z" ? "UTC" : offset}`;
}

// -- telling and asking

export function toast(text, bad = false) {
  const node = h("div", { className: `toast ${bad ? "bad" : ""}` }, text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), bad ? 9000 : 4500);
}

/** Ask before something is done; resolves to the text of the note (or "") or to null. */
export function ask({ title, text, yes, danger = false, note = "", choices = null }) {
  return new Promise((resolve) => {
    const field = note && h("input", { id: "ask-note", maxLength: 4000, autocomplete: "off" });
    const select = choices && h("select", { id: "ask-choice" }, choices.map(([value, label]) => h("option", { value }, label)));
    let answer = null;
    const done = (value) => { answer = value; dialog.close(); };
    const dialog = h("dialog", { aria: { labelledby: "ask-title" } },
      h("form", { onsubmit: (event) => { event.preventDefault(); done(select ? select.value : field ? field.value : ""); } },
        h("h2", { id: "ask-title" }, title), text && h("p", {}, text),
        select && h("div", { className: "field" }, h("label", { htmlFor: "ask-choice" }, "For how long"), select),
        field && h("div", { className: "field" }, h("label", { htmlFor: "ask-note" }, note), field),
        h("div", { className: "actions" },
          h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
          h("button", { type: "submit", className: `primary ${danger ? "danger" : ""}` }, yes))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(answer); });
    document.body.append(dialog);
    dialog.showModal();
  });
}
