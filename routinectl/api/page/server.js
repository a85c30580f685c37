// The server: requests with the token, errors in words, and the rows of all routines, kept up to date by its events.

const KEY = "routinectl.token";
let token = sessionStorage.getItem(KEY) || localStorage.getItem(KEY) || "";

export class Fault extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
    this.hint = problem.hint || "";
    this.problems = problem.errors || [];
  }
}

export const hasToken = () => Boolean(token);

/** Take a token for this window, or (`keep`) for this browser until it is forgotten. */
export function setToken(text, keep = false) {
  token = text;
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  if (text) (keep ? localStorage : sessionStorage).setItem(KEY, text);
}

async function send(method, path, body, headers = {}) {
  try {
    return await fetch(path, {
      method,
      headers: { ...(token && { Authorization: `Bearer ${token}` }), ...(body !== undefined && { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new Fault(0, { detail: "The server does not answer.", hint: "routinectl serve --http" });
  }
}

/** Ask, and return the answer's data. Throws Fault. No cookie is ever sent: a page of another site cannot ask in our name. */
export async function call(method, path, body, headers) {
  const answer = await send(method, path, body, headers);
  const text = await answer.text();
  let data = {};
  try {
    data = text ? JSON.parse(text) : {};
  } catch {
    data = { detail: text.slice(0, 300) };
  }
  if (!answer.ok) throw new Fault(answer.status, data);
  return data;
}

export const get = (path) => call("GET", path);

/** A write that is done once, also when the answer is lost and the request is sent again. */
export function act(path, body = {}) {
  return call("POST", path, body, { "Idempotency-Key": crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}` });
}

export const routine = (id, rest = "") => `/routines/${encodeURIComponent(id)}${rest}`;

/** Read a stream of text, piece by piece, until it ends or `signal` says so. */
export async function stream(path, heard, signal, headers = {}) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${token}`, ...headers }, signal, cache: "no-store" });
  if (!answer.ok) throw new Fault(answer.status, await answer.json().catch(() => ({})));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard(value);
  }
}

// -- the rows, and what has happened to them

const SILENCE = 40_000; // the server says something every 15 s; after this it is gone
const PAGE = 1000;

class Store {
  rows = new Map();
  none = ""; // why there are none
  state = "loading"; // live, stale
  since = Date.now(); // when it last was live
  #position = "";
  #seq = "";
  #listeners = new Set();
  #stop = null;
  #asking = null;
  #wanted = false;

  /** Call back with the kinds of events heard, after the rows know of them. Returns how to stop that. */
  listen(heard) {
    this.#listeners.add(heard);
    return () => this.#listeners.delete(heard);
  }

  #tell(events) {
    for (const heard of [...this.#listeners]) heard(events);
  }

  async load() {
    const rows = new Map();
    let cursor = "";
    do {
      const page = await get(`/routines?limit=${PAGE}${cursor && `&cursor=${cursor}`}`);
      for (const row of page.items) rows.set(row.id, row);
      if (!cursor) this.#position = page.position;
      this.none = page.none;
      cursor = page.next;
    } while (cursor);
    this.rows = rows;
  }

  /** Bring the rows up to date. A wish that comes while an answer is on its way is asked after it: that answer may be of before. */
  refresh() {
    this.#wanted = true;
    this.#asking ??= this.#askOn().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  async #askOn() {
    while (this.#wanted) {
      this.#wanted = false;
      await this.#ask();
    }
  }

  async #ask() {
    const news = await get(`/routines?since=${encodeURIComponent(this.#position)}`);
    if (news.whole) await this.load();
    else {
      const isNew = news.items.some((row) => !this.rows.has(row.id));
      for (const id of news.gone) this.rows.delete(id);
      for (const row of news.items) this.rows.set(row.id, row);
      this.#position = news.position;
      this.none = news.none;
      if (isNew) this.rows = new Map([...this.rows].sort(([a], [b]) => (a < b ? -1 : 1)));
    }
  }

  /** Listen to events until `close`; after a cut it goes on where it was. */
  open() {
    this.#stop = new AbortController();
    this.#run(this.#stop.signal);
    this.timer = setInterval(() => this.#quietly(), 5000);
  }

  close() {
    clearInterval(this.timer);
    this.#stop?.abort();
  }

  /** What only time changes (a fire that is past, a pause that is over) makes no event. */
  async #quietly() {
    const iso = new Date().toISOString();
    if (this.state === "live" && [...this.rows.values()].some((row) => row.changes_at && row.changes_at < iso)) {
      await this.refresh().then(() => this.#tell([]), () => {});
    }
  }

  #become(state) {
    if (state === "live") this.since = Date.now();
    if (state === this.state) return;
    this.state = state;
    this.#tell([]);
  }

  async #run(signal) {
    for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 10_000)) {
      const cut = new AbortController();
      const stop = () => cut.abort();
      signal.addEventListener("abort", stop);
      let silence = setTimeout(stop, SILENCE);
      let rest = "";
      try {
        await stream("/routines/events", (text) => {
          clearTimeout(silence);
          silence = setTimeout(stop, SILENCE);
          wait = 500;
          if (rest === "" && text.startsWith(": connected")) this.#caughtUp();
          const blocks = (rest + text).split("\n\n");
          rest = blocks.pop();
          this.#heard(blocks);
        }, cut.signal, this.#seq ? { "Last-Event-ID": this.#seq } : {});
      } catch (error) {
        if (error.status === 401) { this.#tell([{ type: "token.refused" }]); return; }
      }
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
      if (signal.aborted) return;
      this.#become("stale");
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  #caughtUp() {
    this.refresh().then(() => { this.#become("live"); this.#tell([{ type: "connected" }]); }, () => {});
  }

  #pending = [];

  #heard(blocks) {
    this.since = Date.now();
    for (const block of blocks) {
      const data = block.match(/^data: (.*)$/m);
      const id = block.match(/^id: (\d+)$/m);
      if (id) this.#seq = id[1];
      if (data) this.#pending.push(JSON.parse(data[1]));
    }
    if (this.#pending.length && !this.waiting) {
      // A burst of events is one question.
      this.waiting = setTimeout(() => {
        this.waiting = null;
        const events = this.#pending;
        this.#pending = [];
        this.refresh().then(() => this.#tell(events), () => {});
      }, 120);
    }
  }
}

export const store = new Store();
