// One routine: what it is, when it fires, why it last did not, its runs; and one run with its output as it comes.

import { badges, faults, fill, fires, h, pill, span, spark, ticking, tone, when, words, yaml } from "./dom.js";
import { approve, attempt, cancel, deny, mayDraft, mayWrite, me, pause, remove, resume, runNow, runWith, toggle } from "./actions.js";
import { get, routine as path, store, stream } from "./server.js";

const LIMIT = 50;

export async function routine(id) {
  const place = h("div");
  let stopped = false;

  async function draw() {
    const row = store.rows.get(id);
    const [found, history, text, why] = await Promise.all([
      get(path(id)), get(path(id, `/history?limit=${LIMIT}`)), get(path(id, "/definition")), get(path(id, "/why")).catch(() => null)]);
    if (!stopped) fill(place, page(id, { ...row, ...found, name: row?.name || found.name }, history.items, text, why));
  }

  await draw();
  return {
    title: store.rows.get(id)?.name || id, node: place, close: () => { stopped = true; },
    update: (events) => { if (events.some((event) => event.subject === id || event.type === "connected")) draw().catch((error) => gone(error, place)); },
  };
}

function gone(error, place) {
  if (error.status === 404) fill(place, h("div", { className: "empty" }, h("h2", {}, "It is deleted"), h("p", {}, "What it did stays on record."), h("a", { className: "button", href: "#/" }, "All routines")));
}

function page(id, row, history, text, why) {
  const asks = row.pending_approval || row.status === "draft";
  return [
    h("div", { className: "head" },
      h("div", {}, h("h1", { tabIndex: -1 }, row.name), h("p", { className: "soft" }, row.description || ""),
        h("div", { className: "pills" }, pill(words(row.status), tone(row.status)), badges(store.rows.get(id) || { badges: row.badges }), (row.tags || []).map((tag) => pill(`#${tag}`)))),
      h("div", { className: "actions" },
        mayWrite() && h("button", { type: "button", className: "primary", onclick: () => runNow(row) }, "Run now"),
        mayWrite() && h("button", { type: "button", onclick: () => runWith(row) }, "Run with input"),
        mayWrite() && (row.status === "paused" ? h("button", { type: "button", onclick: () => resume(row) }, "Resume") : h("button", { type: "button", onclick: () => pause(row) }, "Pause")),
        mayWrite() && row.status !== "invalid" && h("button", { type: "button", onclick: () => toggle(row) }, row.enabled ? "Disable" : "Enable"),
        mayDraft() && h("a", { className: "button", href: `#/routines/${id}/edit` }, "Edit"),
        mayWrite() && h("button", { type: "button", className: "danger", onclick: async () => { if (await remove(row)) location.hash = "#/"; } }, "Delete"))),
    row.reason && row.status !== "active" && h("p", { className: `notice ${tone(row.status) === "bad" ? "bad" : ""}` }, `${words(row.status)}: ${row.reason}`),
    row.cannot_start && h("p", { className: "notice bad" }, `A run could not start now: ${row.cannot_start}`),
    asks && mayWrite() && h("p", { className: "notice calm" }, h("span", { className: "inline" }, row.status === "draft" ? "An agent made this; it fires once a person activates it." : "A run waits for a person's yes.",
      h("button", { type: "button", className: "primary", onclick: () => approve(row) }, row.status === "draft" ? "Activate" : "Approve"),
      row.pending_approval && h("button", { type: "button", onclick: () => deny(row) }, "Deny"))),
    h("div", { className: "columns" },
      h("div", {}, runs(id, row, history), definition(text)),
      h("div", {}, nextFires(row), reason(why), facts(row))),
  ];
}

function runs(id, row, history) {
  const going = row.running.map((run) => h("tr", {}, h("td", {}, pill("running", "accent")),
    h("td", {}, h("a", { href: `#/routines/${id}/runs/${run.run}` }, ticking(run.since, "ago"))), h("td", {}), h("td", {}),
    h("td", {}, mayWrite() && h("button", { type: "button", className: "danger", onclick: () => cancel(id, run.run) }, "Stop"))));
  const lines = [...history].reverse().map((line) => {
    const ran = line.verdict === "ran";
    const what = line.outcome || line.verdict;
    const at = line.started_at || line.slot || line.completed_at;
    const took = line.started_at && line.completed_at ? span((new Date(line.completed_at) - new Date(line.started_at)) / 1000) : "";
    return h("tr", {}, h("td", {}, pill(words(what), tone(what))),
      h("td", { className: "nowrap" }, ran && line.run ? h("a", { href: `#/routines/${id}/runs/${line.run}` }, when(at, row.timezone)) : when(at, row.timezone)),
      h("td", { className: "nowrap soft" }, took), h("td", {}, [ran ? "" : words(line.reason), line.count > 1 ? `${line.count} slots` : "", line.message || line.detail || ""].filter(Boolean).join(" · ")), h("td", {}));
  });
  return h("section", { className: "sheet" }, h("h2", {}, "Runs and verdicts "), h("p", {}, spark(store.rows.get(id)?.recent || "")),
    going.length + lines.length ? h("div", { className: "wide", tabIndex: 0, role: "region", aria: { label: "Runs and verdicts" } }, h("table", {}, h("thead", {}, h("tr", {}, ["Outcome", "Started", "Took", "Why", ""].map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, going, lines)))
      : h("p", { className: "soft" }, "It has not run yet."));
}

const definition = (text) => h("section", { className: "sheet" }, h("h2", {}, "Definition"), text.problems.length ? faults(text.problems) : null,
  text.problems.length ? h("p") : null, yaml(text.text, text.problems));

const nextFires = (row) => h("section", { className: "sheet" }, h("h2", {}, "Next fires"), h("p", {}, row.words || row.schedule, " ", h("span", { className: "soft" }, row.timezone)), fires(row.next));

function reason(why) {
  if (!why) return null;
  const rule = !why.rule || why.value == null ? why.rule : `${why.rule}: ${typeof why.value === "object" ? JSON.stringify(why.value) : why.value}`;
  return h("section", { className: "sheet" }, h("h2", {}, why.verdict === "ran" ? "Why it last ran" : "Why it did not run"), h("dl", { className: "facts" },
    [["Verdict", words(why.verdict)], ["Slot", why.slot], ["Reason", words(why.reason)], ["Rule", rule], ["Said at", why.place], ["What helps", why.remedy]]
      .filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function facts(row) {
  const agent = row.agent && typeof row.agent === "object" ? row.agent : null;
  return h("section", { className: "sheet" }, h("h2", {}, "Facts"), h("dl", { className: "facts" }, [
    ["A run may", row.may], ["Agent", agent && `${agent.model}, tools: ${agent.tools.join(", ")}`], ["Owner", row.owner], ["File", h("code", {}, row.file)], ["Runs so far", String(row.run_count)],
    ["Failures in a row", row.consecutive_failures ? String(row.consecutive_failures) : ""], ["Timeout", row.definition?.timeout], ["Memory", row.memory_bytes ? `${row.memory_bytes} bytes` : ""],
  ].filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

// -- one run

/** A run, from the wish for it to its end, with its output as it comes. */
export async function run(id, name) {
  const place = h("div");
  const output = h("pre", { className: "log", tabIndex: 0, aria: { label: "Output of the run" } });
  const stop = new AbortController();
  const row = store.rows.get(id) || { id, name: id, timezone: "UTC" };
  let follow = null;

  async function draw() {
    const found = await get(path(id, `/runs/${encodeURIComponent(name)}`));
    const going = found.state !== "ended";
    const fact = (label, value) => value && [h("dt", {}, label), h("dd", {}, value)];
    fill(place,
      h("div", { className: "head" }, h("div", {}, h("p", { className: "small" }, h("a", { href: `#/routines/${id}` }, row.name)), h("h1", { tabIndex: -1 }, `Run ${name}`),
        h("div", { className: "pills" }, pill(words(going ? found.state : found.outcome), tone(going ? "running" : found.outcome)))),
      h("div", { className: "actions" }, going && mayWrite() && h("button", { type: "button", className: "danger", onclick: () => cancel(id, name) }, "Stop it"))),
      found.state === "waiting" ? h("p", { className: "notice" }, waits(found)) : null,
      h("section", { className: "sheet" }, h("dl", { className: "facts" }, fact("Trigger", found.trigger), fact("Why", words(found.reason)), fact("Started", found.started_at ? when(found.started_at, row.timezone) : found.since && ticking(found.since, "ago")),
        fact("Took", found.started_at && found.completed_at && span((new Date(found.completed_at) - new Date(found.started_at)) / 1000)), fact("Exit code", found.exit_code != null && String(found.exit_code)),
        fact("Tokens", found.tokens && String(found.tokens)), fact("Cost", found.cost != null && `$${found.cost}`), fact("Says", found.message))),
      h("section", { className: "sheet" }, h("h2", {}, "Output"), output));
    if (found.state !== "waiting") follow ??= listen();
    return going;
  }

  async function listen() {
    const atEnd = () => output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    fill(output);
    try {
      await stream(path(id, `/runs/${encodeURIComponent(name)}/log?follow=1`), (text) => {
        const stick = atEnd();
        output.append(text);
        if (stick) output.scrollTop = output.scrollHeight;
      }, stop.signal);
      if (!output.textContent) output.append(h("span", { className: "soft" }, "It printed nothing."));
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) return; // signed out: the events end too, and the frame says so
      const found = error.status === 404 ? await get(path(id, `/runs/${encodeURIComponent(name)}`)).catch((fault) => fault) : {};
      if (found.state === "ended" || found.status === 404) fill(output, h("span", { className: "soft" }, "There is no output of this run (any more)."));
      // It has not written anything yet, or the server is away for a moment.
      else setTimeout(() => { if (!stop.signal.aborted) follow = listen(); }, 300);
    }
  }

  await draw();
  return {
    title: `Run of ${row.name}`, node: place, close: () => stop.abort(),
    update: (events) => { if (events.some((event) => event.subject === id || event.type === "connected")) draw().catch(() => {}); },
  };
}

function waits(found) {
  if (store.state === "live" && me.serve_alive === false) return "It is on record and waits: no serve is running. Start one: routinectl serve";
  return `It is on record and waits: ${words(found.reason)}.`;
}
