// Making and changing a routine: a form, or the YAML itself. Both are checked as one types, and say when it would fire.

import { faults, fill, fires, h, toast } from "./dom.js";
import { call, Fault, get, routine as path, store } from "./server.js";
import { me } from "./actions.js";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const KINDS = [["daily", "Every day"], ["weekdays", "Monday to Friday"], ["days", "On chosen days"], ["monthly", "Every month"], ["every", "Every so often"],
  ["cron", "Cron expression"], ["words", "In words"], ["none", "By hand only"]];
const ACTIONS = [["command", "A command"], ["prompt", "A prompt to a model"], ["agent", "A saved agent"]];
const PATIENCE = 250; // milliseconds after the last key before it is checked

/** The schedule of a definition as the builder knows it; `other` for what only YAML can say. */
function scheduleOf(triggers) {
  if (!triggers || !triggers.length) return { kind: "none" };
  const [trigger] = triggers;
  if (triggers.length > 1 || Object.keys(trigger).some((key) => !["daily", "weekly", "every", "cron", "schedule"].includes(key))) return { kind: "other" };
  if (trigger.daily) return { kind: "daily", time: trigger.daily };
  if (trigger.weekly) {
    const days = (Array.isArray(trigger.weekly.days) ? trigger.weekly.days : []).map((day) => String(day).slice(0, 3).toLowerCase());
    return days.every((day) => DAYS.includes(day)) ? { kind: "days", days, time: trigger.weekly.time } : { kind: "other" };
  }
  if (trigger.every) return { kind: "every", every: trigger.every };
  if (trigger.schedule) return { kind: "words", text: trigger.schedule };
  const simple = String(trigger.cron).match(/^(\d+) (\d+) (\*|\d+) \* (\*|1-5|mon-fri)$/i);
  const time = simple && `${simple[2].padStart(2, "0")}:${simple[1].padStart(2, "0")}`;
  if (simple && simple[3] !== "*" && simple[4] === "*") return { kind: "monthly", time, day: simple[3] };
  if (simple && simple[3] === "*" && simple[4] !== "*") return { kind: "weekdays", time };
  return { kind: "cron", cron: trigger.cron };
}

function triggersOf(value) {
  const [hour, minute] = (value.time || "09:00").split(":").map(Number);
  switch (value.kind) {
    case "daily": return [{ daily: value.time || "09:00" }];
    case "weekdays": return [{ cron: `${minute} ${hour} * * 1-5` }];
    case "days": return [{ weekly: { days: value.days || [], time: value.time || "09:00" } }];
    case "monthly": return [{ cron: `${minute} ${hour} ${value.day || 1} * *` }];
    case "every": return [{ every: value.every || "1h" }];
    case "cron": return [{ cron: value.cron || "" }];
    case "words": return [{ schedule: value.text || "" }];
    default: return [];
  }
}

function actionOf(doc) {
  const action = doc.action || {};
  if (action.prompt) return { kind: "prompt", text: action.prompt.text || "", fixed: action.prompt.text === undefined };
  if (action.agent?.use) return { kind: "agent", use: action.agent.use, text: action.agent.task || "" };
  if (action.command !== undefined) return { kind: "command", text: Array.isArray(action.command) ? action.command.join(" ") : action.command, list: Array.isArray(action.command) };
  return { kind: "other", fixed: true };
}

/** The form of a routine; without an id, of a new one. */
export async function form(id) {
  const [before, agents] = await Promise.all([id ? get(path(id, "/definition")) : null, get("/agents").then((found) => found.items, () => [])]);
  const doc = before?.doc || (id ? {} : { triggers: [{ daily: "09:00" }], timeout: "10m", action: { command: "" } });
  const state = { doc, text: before?.text || "", schedule: scheduleOf(doc.triggers), action: actionOf(doc), yaml: Boolean(id && !before.doc), touched: false, payload: doc.action?.payload ? JSON.stringify(doc.action.payload, null, 1) : "" };
  if (id && state.schedule.kind !== "other") state.schedule.kept = doc.triggers;
  const preview = h("section", { className: "sheet", aria: { live: "polite", label: "Preview" } });
  const editor = h("div");
  const save = h("button", { type: "submit", className: "primary" }, id ? "Save" : "Create");
  let timer = null;
  let number = 0;

  const later = () => { state.touched = true; clearTimeout(timer); timer = setTimeout(check, PATIENCE); };

  /** The definition as the form says it now. What the form does not show stays as it is. */
  function wanted() {
    const found = structuredClone(state.doc);
    for (const key of ["name", "description", "timezone", "timeout"]) {
      const value = field(key)?.value.trim();
      if (value) found[key] = value; else if (field(key)) delete found[key];
    }
    if (state.schedule.kind !== "other") {
      const triggers = state.schedule.kept && !state.schedule.changed ? state.schedule.kept : triggersOf(state.schedule);
      if (triggers.length) found.triggers = triggers; else delete found.triggers;
    }
    if (!state.action.fixed) found.action = actionWanted(found.action || {});
    if (field("enabled").checked) { if ("enabled" in found) found.enabled = true; } else found.enabled = false;
    return found;
  }

  function actionWanted(old) {
    const { payload: _, ...rest } = old;
    const text = field("text")?.value ?? "";
    const made = state.action.kind === "prompt" ? { ...(rest.prompt ? rest : {}), prompt: { ...rest.prompt, text } }
      : state.action.kind === "agent" ? { ...(rest.agent ? rest : {}), agent: { ...rest.agent, use: field("use")?.value ?? "", task: text } }
        : { ...("command" in rest ? rest : {}), command: state.action.list && text === state.action.text ? rest.command : text };
    return state.payload.trim() ? { ...made, payload: JSON.parse(state.payload) } : made;
  }

  const field = (key) => editor.querySelector(`#f-${key}`);

  async function check() {
    const mine = ++number;
    let asked;
    try {
      // A change is made in the text of the file, so that its comments stay; a new definition has no file yet.
      asked = state.yaml ? { text: state.text } : before?.doc ? { patch: patch(before.doc, wanted()) } : { definition: wanted() };
    } catch (error) {
      show({ good: false, problems: [{ path: "action.payload", message: `the payload is no JSON: ${error.message}`, hint: '{"day": "monday"}' }], next: [] });
      return;
    }
    try {
      const found = await call("POST", "/check", { id: id || "new-routine", ...asked });
      if (mine === number) show(found);
    } catch (error) {
      if (mine === number) fill(preview, h("h2", {}, "Preview"), h("p", { className: "bad" }, error.message));
    }
  }

  function show(found) {
    const mine = found.problems.filter((item) => state.touched || id || !["name", "action.command"].includes(item.path));
    fill(preview, h("h2", {}, "What it means"),
      found.words ? h("p", {}, h("strong", {}, found.words), " ", h("span", { className: "soft" }, found.timezone)) : null,
      found.good && found.external ? h("p", { className: "notice" }, "↗ Its runs may have effects outside this machine.") : null,
      found.words ? fires(found.next) : null, mine.length ? faults(mine) : found.good || found.words ? null : h("p", { className: "soft" }, "Fill it in; this says when it would run."),
      found.good ? h("p", { className: "soft small" }, `A run may: ${found.may}`) : null);
    for (const node of editor.querySelectorAll("[data-path]")) {
      const fault = !found.good && mine.find((item) => item.path.startsWith(node.dataset.path));
      node.setAttribute("aria-invalid", String(Boolean(fault)));
    }
    state.good = found.good;
    if (state.yaml && found.doc) state.doc = found.doc;
    if (!state.yaml && found.text) state.text = found.text;
  }

  // -- the two faces of it

  const input = (key, label, props = {}, note = "") => h("div", { className: "field" }, h("label", { htmlFor: `f-${key}` }, label),
    h("input", { id: `f-${key}`, oninput: later, autocomplete: "off", data: { path: props.path ?? key }, value: state.doc[key] ?? "", ...props }), note && h("span", { className: "note" }, note));

  function fields() {
    return [input("name", "Name", { required: true, maxLength: 100 }, id ? "" : "Its folder is named after it."),
      input("description", "Description", { maxLength: 1000 }),
      h("div", { className: "field" }, h("label", { htmlFor: "f-kind" }, "When"), schedule()),
      input("timezone", "Time zone", { placeholder: me.timezone, list: "zones" }, `Empty: that of the workspace, ${me.timezone}.`),
      h("datalist", { id: "zones" }, (Intl.supportedValuesOf?.("timeZone") ?? []).map((name) => h("option", { value: name }))),
      ...action(), input("timeout", "Timeout", { placeholder: "10m", required: true }, "A run that takes longer is stopped."),
      h("div", { className: "field" }, h("label", { htmlFor: "f-payload" }, "Payload"), h("textarea", { id: "f-payload", rows: 2, className: "mono", value: state.payload, placeholder: '{"day": "monday"}', data: { path: "action.payload" },
        oninput: (event) => { state.payload = event.target.value; later(); } }), h("span", { className: "note" }, "Input of each run, as JSON; may be empty.")),
      h("p", {}, h("label", { className: "check" }, h("input", { type: "checkbox", id: "f-enabled", checked: state.doc.enabled !== false, onchange: later }), "Enabled"))];
  }

  function schedule() {
    const value = state.schedule;
    if (value.kind === "other") return h("p", { className: "soft" }, "Its triggers are more than this form shows; they stay as they are. Change them in the YAML.");
    const box = h("div", { className: "inline" });
    const changed = (change) => { Object.assign(value, change, { changed: true }); later(); };
    const time = () => h("input", { type: "time", id: "f-time", value: value.time || "09:00", required: true, aria: { label: "Time" }, data: { path: "triggers" }, oninput: (event) => changed({ time: event.target.value }) });
    const text = (key, label, placeholder) => h("input", { id: `f-${key}`, value: value[key] || "", placeholder, aria: { label }, data: { path: "triggers" }, autocomplete: "off", oninput: (event) => changed({ [key]: event.target.value }) });
    const parts = {
      daily: () => ["at", time()], weekdays: () => ["at", time()],
      days: () => [h("span", { className: "days" }, DAYS.map((day) => h("button", { type: "button", aria: { pressed: String((value.days || []).includes(day)) }, onclick: (event) => {
        const days = new Set(value.days);
        if (days.has(day)) days.delete(day); else days.add(day);
        changed({ days: DAYS.filter((item) => days.has(item)) });
        event.target.setAttribute("aria-pressed", String(days.has(day)));
      } }, day[0].toUpperCase() + day.slice(1)))), "at", time()],
      monthly: () => ["on day", h("input", { type: "number", min: 1, max: 31, value: value.day || 1, aria: { label: "Day of the month" }, oninput: (event) => changed({ day: event.target.value }) }), "at", time()],
      every: () => [text("every", "How often", "15m")], cron: () => [text("cron", "Cron expression", "*/15 8-18 * * mon-fri")],
      words: () => [text("text", "The schedule in words", "weekdays at 9:30")], none: () => [],
    };
    const draw = () => fill(box, select, parts[value.kind]());
    const select = h("select", { id: "f-kind", onchange: () => { changed({ kind: select.value }); draw(); } }, KINDS.map(([kind, label]) => h("option", { value: kind, selected: kind === value.kind }, label)));
    draw();
    return box;
  }

  function action() {
    const value = state.action;
    if (value.fixed) return [h("p", { className: "soft" }, "What it does is more than this form shows; it stays as it is. Change it in the YAML.")];
    const area = (label, rows, placeholder) => h("div", { className: "field" }, h("label", { htmlFor: "f-text" }, label),
      h("textarea", { id: "f-text", rows, className: value.kind === "command" ? "mono" : "", value: value.text, placeholder, data: { path: "action" }, oninput: later }));
    const box = h("div");
    const parts = { command: () => [area("Command", 2, "tar czf backup.tgz data")], prompt: () => [area("Prompt", 5, "Summarise what changed since yesterday.")],
      agent: () => [h("div", { className: "field" }, h("label", { htmlFor: "f-use" }, "Agent"), h("select", { id: "f-use", onchange: later, data: { path: "action.agent" } },
        agents.map((item) => h("option", { value: item.name, selected: item.name === value.use }, item.name)))), area("Task", 4, "Look through the repository and say what is stale.")] };
    const draw = () => fill(box, parts[value.kind]());
    const kinds = ACTIONS.filter(([kind]) => kind !== "agent" || agents.length || value.kind === "agent");
    const select = h("select", { id: "f-action", onchange: () => { value.kind = select.value; value.text = field("text").value; draw(); later(); } }, kinds.map(([kind, label]) => h("option", { value: kind, selected: kind === value.kind }, label)));
    draw();
    return [h("div", { className: "field" }, h("label", { htmlFor: "f-action" }, "What it does"), select), box];
  }

  function textual() {
    return [h("div", { className: "field" }, h("label", { htmlFor: "f-yaml" }, "ROUTINE.yaml"), h("textarea", { id: "f-yaml", className: "editor", spellcheck: false, value: state.text, data: { path: "" }, rows: 24,
      oninput: (event) => { state.text = event.target.value; later(); } })),
    id ? null : h("div", { className: "field" }, h("label", { htmlFor: "f-id" }, "Id"), h("input", { id: "f-id", placeholder: "my-routine", autocomplete: "off" }), h("span", { className: "note" }, "The name of its folder: lower-case letters, digits and -"))];
  }

  function draw() { fill(editor, state.yaml ? textual() : fields()); }

  const faces = h("div", { className: "tabs", role: "group", aria: { label: "Edited as" } }, [["Form", false], ["YAML", true]].map(([text, yaml]) => h("button", { type: "button", aria: { pressed: String(state.yaml === yaml) }, onclick: async () => {
    await turn(yaml);
    for (const [index, node] of [...faces.children].entries()) node.setAttribute("aria-pressed", String(state.yaml === Boolean(index)));
  } }, text)));

  async function turn(yaml) {
    if (yaml === state.yaml) return;
    clearTimeout(timer);
    if (yaml) {
      await check();
    } else {
      const found = await call("POST", "/check", { id: id || "new-routine", text: state.text }).catch(() => null);
      if (!found?.doc) { toast("The form cannot show a text that is no YAML mapping.", true); return; }
      Object.assign(state, { doc: found.doc, schedule: scheduleOf(found.doc.triggers), action: actionOf(found.doc) });
    }
    state.yaml = yaml;
    draw();
    await check();
  }

  async function keep(event) {
    event.preventDefault();
    state.touched = true;
    save.disabled = true;
    try {
      const found = await (state.yaml ? keepText() : keepForm());
      state.saved = true;
      await store.refresh().catch(() => {});
      toast(id ? "Saved." : `${found.name} is made${found.status === "draft" ? ", as a draft" : ""}.`);
      location.hash = `#/routines/${found.id}`;
    } catch (error) {
      if (!(error instanceof Fault) && !(error instanceof SyntaxError)) throw error;
      if (error.problems?.length) show({ good: false, problems: error.problems, next: [] });
      toast(error.status === 412 ? "Somebody else changed it meanwhile. Copy your text, and open it again." : error.message, true);
    } finally {
      save.disabled = false;
    }
  }

  const match = () => (id ? { "If-Match": before.etag } : { "If-None-Match": "*" });

  function keepText() {
    const name = id || field("id").value.trim();
    if (!name) throw new Fault(400, { detail: "A new routine needs an id." });
    return call("PUT", path(name, "/definition"), { text: state.text }, match());
  }

  async function keepForm() {
    const found = wanted();
    if (!id) return call("POST", "/routines", found);
    return call("PATCH", path(id), patch(before.doc || {}, found), match());
  }

  const view = h("form", { onsubmit: keep, noValidate: true },
    h("div", { className: "head" }, h("div", {}, id && h("p", { className: "small" }, h("a", { href: `#/routines/${id}` }, store.rows.get(id)?.name || id)), h("h1", { tabIndex: -1 }, id ? "Edit" : "New routine")),
      h("div", { className: "actions" }, faces, h("a", { className: "button", href: id ? `#/routines/${id}` : "#/" }, "Cancel"), save)),
    h("div", { className: "columns" }, h("section", { className: "sheet" }, editor), preview));
  draw();
  await check();
  const stay = (event) => { if (state.touched && !state.saved) event.preventDefault(); };
  addEventListener("beforeunload", stay);
  return { title: id ? `Edit ${store.rows.get(id)?.name || id}` : "New routine", node: view, update: () => {}, close: () => { clearTimeout(timer); removeEventListener("beforeunload", stay); } };
}

/** The JSON merge patch (RFC 7396) that makes `after` of `before`. */
function patch(before, after) {
  const found = {};
  for (const key of Object.keys(before)) if (!(key in after)) found[key] = null;
  for (const [key, value] of Object.entries(after)) {
    const old = before[key];
    const nested = [value, old].every((item) => item && typeof item === "object" && !Array.isArray(item));
    if (nested) {
      const inner = patch(old, value);
      if (Object.keys(inner).length) found[key] = inner;
    } else if (JSON.stringify(old) !== JSON.stringify(value)) found[key] = value;
  }
  return found;
}
