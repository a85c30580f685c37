// Making and changing a routine: a form, or the YAML itself. Both are checked as one types, and say when it would fire.

import { faults, fill, fires, h, toast } from "./dom.js";
import { call, Fault, get, routine as path, store } from "./server.js";
import { me } from "./actions.js";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const KINDS = [["daily", "Every day"], ["weekdays", "Monday to Friday"], ["days", "On chosen days"], ["monthly", "Every month"], ["every", "Every so often"],
  ["cron", "Cron expression"], ["words", "In words"], ["none", "By hand only"]];
const ACTIONS = [["command", "A command"], ["prompt", "A prompt to a model"], ["agent", "A saved agent"]];
const PATIENCE = 250; // milliseconds after the last key before it is checked

/** The form of a routine; without an id, of a new one. What it shows of a definition, and what may be changed there, the server says. */
export async function form(id) {
  const before = id ? await get(path(id, "/definition")) : null;
  const start = before || await call("POST", "/check", { id: "new-routine", form: {} });
  // `values` are the fields that somebody has changed, over the text `base`: nothing else is ever written.
  const state = { base: before?.text || "", values: {}, form: start.form, text: start.text, yaml: !start.doc, touched: false };
  const preview = h("section", { className: "sheet", aria: { live: "polite", label: "Preview" } });
  const editor = h("div");
  const save = h("button", { type: "submit", className: "primary" }, id ? "Save" : "Create");
  let timer = null;
  let number = 0;

  const later = () => { state.touched = true; clearTimeout(timer); timer = setTimeout(check, PATIENCE); };

  /** Take note of what a field says now. */
  function say(key, value) {
    if (JSON.stringify(value) === JSON.stringify(state.form[key].value)) delete state.values[key]; else state.values[key] = value;
    later();
  }

  const asked = () => (state.yaml ? { text: state.text } : state.base ? { text: state.base, form: state.values } : { form: state.values });

  /** Ask what it means as it stands; returns the answer, null where there is none. */
  async function check() {
    const mine = ++number;
    clearTimeout(timer);
    try {
      const found = await call("POST", "/check", { id: id || "new-routine", ...asked() });
      if (mine === number) show(found);
      return found;
    } catch (error) {
      if (mine === number) fill(preview, h("h2", {}, "Preview"), h("p", { className: "bad" }, error.message));
      return null;
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
    if (!state.yaml && found.text) state.text = found.text;
  }

  // -- the two faces of it

  /** Why a field cannot be changed here, and the way to where it can be. */
  const fixed = (field) => !field.editable && h("span", { className: "note" }, `It stays as it is: ${field.why}. `, h("button", { type: "button", className: "plain", onclick: () => turn(true) }, "Edit as YAML"));

  function input(key, label, props = {}, note = "") {
    const field = state.form[key];
    return h("div", { className: "field" }, h("label", { htmlFor: `f-${key}` }, label),
      h("input", { id: `f-${key}`, oninput: (event) => say(key, event.target.value.trim()), autocomplete: "off", data: { path: key }, value: state.values[key] ?? field.text, readOnly: !field.editable, ...props }),
      note && h("span", { className: "note" }, note), fixed(field));
  }

  function fields() {
    const { payload, enabled } = state.form;
    return [input("name", "Name", { required: true, maxLength: 100 }, id ? "" : "Its folder is named after it."),
      input("description", "Description", { maxLength: 1000 }),
      h("div", { className: "field" }, h("label", { htmlFor: "f-kind" }, "When"), schedule()),
      input("timezone", "Time zone", { placeholder: me.timezone, list: "zones" }, `Empty: that of the workspace, ${me.timezone}.`),
      h("datalist", { id: "zones" }, (Intl.supportedValuesOf?.("timeZone") ?? []).map((name) => h("option", { value: name }))),
      action(), input("timeout", "Timeout", { placeholder: "10m", required: true }, "A run that takes longer is stopped."),
      h("div", { className: "field" }, h("label", { htmlFor: "f-payload" }, "Payload"), h("textarea", { id: "f-payload", rows: 2, className: "mono", value: state.values.payload ?? payload.text, readOnly: !payload.editable, placeholder: '{"day": "monday"}', data: { path: "action.payload" },
        oninput: (event) => say("payload", event.target.value) }), h("span", { className: "note" }, "Input of each run, as JSON; may be empty."), fixed(payload)),
      h("p", {}, h("label", { className: "check" }, h("input", { type: "checkbox", id: "f-enabled", checked: state.values.enabled ?? enabled.value !== false, disabled: !enabled.editable, onchange: (event) => say("enabled", event.target.checked) }), "Enabled"), fixed(enabled))];
  }

  function schedule() {
    const field = state.form.triggers;
    if (!field.editable) return [h("input", { id: "f-kind", className: "mono", readOnly: true, value: field.text }), fixed(field)];
    const value = state.values.triggers ?? structuredClone(field.value);
    const box = h("div", { className: "inline" });
    const changed = (change) => { Object.assign(value, change); say("triggers", { ...value }); };
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
    const field = state.form.action;
    const area = (label, rows, value, props) => h("div", { className: "field" }, h("label", { htmlFor: "f-text" }, label), h("textarea", { id: "f-text", rows, value, data: { path: "action" }, ...props }));
    if (!field.editable) return [area("What it does", 2, field.text, { readOnly: true, className: "mono" }), h("div", { className: "field" }, fixed(field))];
    const value = { ...(state.values.action ?? field.value) };
    const changed = (change) => { Object.assign(value, change); say("action", { ...value }); };
    const text = (label, rows, placeholder) => area(label, rows, value.text, { placeholder, className: value.kind === "command" ? "mono" : "", oninput: (event) => changed({ text: event.target.value }) });
    const box = h("div");
    const parts = { command: () => text("Command", 2, "tar czf backup.tgz data"), prompt: () => text("Prompt", 5, "Summarise what changed since yesterday."),
      agent: () => [h("div", { className: "field" }, h("label", { htmlFor: "f-use" }, "Agent"), h("select", { id: "f-use", onchange: (event) => changed({ use: event.target.value }), data: { path: "action.agent" } },
        field.agents.map((name) => h("option", { value: name, selected: name === value.use }, name)))), text("Task", 4, "Look through the repository and say what is stale.")] };
    const draw = () => fill(box, parts[value.kind]());
    const select = h("select", { id: "f-action", disabled: field.kinds.length < 2, onchange: () => { changed({ kind: select.value, use: select.value === "agent" ? value.use || field.agents[0] : "" }); draw(); } },
      ACTIONS.filter(([kind]) => field.kinds.includes(kind)).map(([kind, label]) => h("option", { value: kind, selected: kind === value.kind }, label)));
    draw();
    return [h("div", { className: "field" }, h("label", { htmlFor: "f-action" }, "What it does"), select), box];
  }

  function textual() {
    return [h("div", { className: "field" }, h("label", { htmlFor: "f-yaml" }, "ROUTINE.yaml"), h("textarea", { id: "f-yaml", className: "editor", spellcheck: false, value: state.text, data: { path: "" }, rows: 24,
      oninput: (event) => { state.text = event.target.value; later(); } })),
    id ? null : h("div", { className: "field" }, h("label", { htmlFor: "f-id" }, "Id"), h("input", { id: "f-id", placeholder: "my-routine", autocomplete: "off" }), h("span", { className: "note" }, "The name of its folder: lower-case letters, digits and -"))];
  }

  function draw() { fill(editor, state.yaml ? textual() : fields()); }

  const faces = h("div", { className: "tabs", role: "group", aria: { label: "Edited as" } }, [["Form", false], ["YAML", true]].map(([text, yaml]) =>
    h("button", { type: "button", aria: { pressed: String(state.yaml === yaml) }, onclick: () => turn(yaml) }, text)));

  async function turn(yaml) {
    if (yaml === state.yaml) return;
    const found = await check();
    if (!yaml) {
      if (!found?.doc) { toast("The form cannot show a text that is no YAML mapping.", true); return; }
      Object.assign(state, { base: state.text, values: {}, form: found.form });
    }
    state.yaml = yaml;
    for (const [index, node] of [...faces.children].entries()) node.setAttribute("aria-pressed", String(state.yaml === Boolean(index)));
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
      if (!(error instanceof Fault)) throw error;
      if (error.problems?.length) show({ good: false, problems: error.problems, next: [] });
      toast(error.status === 412 ? "Somebody else changed it meanwhile. Copy your text, and open it again." : error.message, true);
    } finally {
      save.disabled = false;
    }
  }

  const match = () => (id ? { "If-Match": before.etag } : { "If-None-Match": "*" });

  function keepText() {
    const name = id || editor.querySelector("#f-id").value.trim();
    if (!name) throw new Fault(400, { detail: "A new routine needs an id." });
    return call("PUT", path(name, "/definition"), { text: state.text }, match());
  }

  /** Write what was previewed, byte for byte. */
  async function keepForm() {
    const found = await check();
    if (!found?.doc) throw new Fault(422, { detail: "Nothing is written: it cannot be read as it stands.", errors: found?.problems });
    if (!id) return call("POST", "/routines", found.doc);
    return found.text === before.text ? { id } : call("PUT", path(id, "/definition"), { text: found.text }, match());
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
