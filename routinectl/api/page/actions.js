// What a person does to a routine: each asks where it matters, does it, and says in words what became of it.

import { ask, toast, words } from "./dom.js";
import { act, call, Fault, routine, store } from "./server.js";

export const me = { role: "viewer", owner: "" };

export const mayWrite = () => ["user", "admin"].includes(me.role);
export const mayDraft = () => ["agent", "user", "admin"].includes(me.role);

/** Do something; a fault becomes a message, and the answer null. */
export async function attempt(doing, done = "") {
  try {
    const found = await doing();
    if (done) toast(done);
    await store.refresh().catch(() => {});
    return found ?? {};
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    toast([error.message, error.hint && `Try: ${error.hint}`].filter(Boolean).join(" "), true);
    return null;
  }
}

/** Run it with an input that is asked for. */
export async function runWith(row) {
  const text = await ask({ title: `Run ${row.name} with input`, note: 'JSON, such as {"day": "monday"}', yes: "Run it", text: "It is merged over the payload of its definition, for this run alone." });
  if (text === null) return;
  try {
    await runNow(row, text.trim() ? { payload: JSON.parse(text) } : {});
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    toast(`That is no JSON: ${error.message}. Nothing ran.`, true);
  }
}

export async function runNow(row, body = {}) {
  const found = await attempt(() => act(routine(row.id, "/run_now"), body), `${row.name} will run now.`);
  if (found) location.hash = `#/routines/${row.id}/runs/${found.run}`;
}

export function toggle(row) {
  return attempt(() => call("PATCH", routine(row.id, "/toggle"), { enabled: !row.enabled }), `${row.name} is ${row.enabled ? "disabled" : "enabled"}.`);
}

export async function pause(row) {
  const lasting = await ask({
    title: `Pause ${row.name}?`, text: "No slot fires while it is paused; each is on record as skipped. Runs that go on are not stopped.", yes: "Pause",
    choices: [["1h", "One hour"], ["4h", "Four hours"], ["1d", "A day"], ["7d", "A week"], ["", "Until it is resumed"]],
  });
  if (lasting !== null) await attempt(() => act(routine(row.id, "/pause"), lasting ? { for: lasting } : {}), `${row.name} is paused.`);
}

export const resume = (row) => attempt(() => act(routine(row.id, "/resume")), `${row.name} fires again.`);

/** Delete it after asking; resolves to whether it is gone. */
export async function remove(row) {
  const yes = await ask({
    title: `Delete ${row.name}?`, danger: true, yes: "Delete it", text: `The folder routines/${row.id}/ is removed, with its memory. What it did stays on record.`,
  });
  return yes !== null && (await attempt(() => call("DELETE", routine(row.id)), `${row.name} is deleted.`)) !== null;
}

export async function approve(row) {
  const draft = row.status === "draft";
  const note = await ask({
    title: `${draft ? "Activate" : "Approve"} ${row.name}?`, note: "A note for the record (may be empty)", yes: draft ? "Activate it" : "Approve it",
    text: "It holds for exactly the definition and files it has now. When they change, it is asked for again.",
  });
  return note !== null && (await attempt(() => act(routine(row.id, "/approve"), note ? { note } : {}), `${row.name} is ${draft ? "active" : "approved"}.`)) !== null;
}

export async function deny(row) {
  const note = await ask({ title: `Deny ${row.name}?`, note: "Why (may be empty)", yes: "Deny it", danger: true, text: "What waits is skipped, on record as denied. The next slot asks again." });
  return note !== null && (await attempt(() => act(routine(row.id, "/deny"), note ? { note } : {}), `${row.name} is denied.`)) !== null;
}

export async function cancel(id, run) {
  const yes = await ask({ title: "Stop this run?", danger: true, yes: "Stop it", text: "It is asked to end, and killed when it does not." });
  if (yes !== null) await attempt(() => act(routine(id, "/cancel"), { run }), "It is asked to stop.");
}

/** Have what waits for review run, or dismiss it; resolves to whether that was done. */
export async function review(item, run) {
  const name = store.rows.get(item.id)?.name || item.id;
  const yes = await ask(run ? { title: `Run ${name} now?`, yes: "Run it", text: "Of several slots the newest runs, and the older ones are answered by it." }
    : { title: `Dismiss what waits of ${name}?`, yes: "Dismiss it", danger: true, text: "It does not run, and is on record as dismissed." });
  return yes !== null && (await attempt(() => act(routine(item.id, "/review"), { run }), run ? `${name} will run.` : "It is dismissed.")) !== null;
}

export async function applyProposal(item) {
  const yes = await ask({ title: "Apply this proposal?", yes: "Apply it", text: `${words(item.what)} for ${item.routine}, proposed by ${item.by}. It is done once.` });
  return yes !== null && (await attempt(() => act(`/proposals/${item.proposal}/apply`), "It is done.")) !== null;
}

export async function rejectProposal(item) {
  const note = await ask({ title: "Reject this proposal?", note: "Why (may be empty)", yes: "Reject it", danger: true, text: `${words(item.what)} for ${item.routine}, proposed by ${item.by}.` });
  return note !== null && (await attempt(() => act(`/proposals/${item.proposal}/reject`, note ? { note } : {}), "It is rejected.")) !== null;
}
