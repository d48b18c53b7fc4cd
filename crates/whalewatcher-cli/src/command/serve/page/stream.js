// A stream of server-sent events that goes on after any failure. EventSource would do, but cannot send a token.

const FIRST_DELAY = 250;
const LONGEST_DELAY = 10_000;

// The server sends at least a comment in 15 s.
const SILENCE = 40_000;

const TOKEN = "whalewatcher-token";

// Requests something of the server, with the token if there is one.
export function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  return fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

// Calls `event(name, data)` with each event, and `state(name, reason)` when the connection is "live" or "lost". `token(reason)` returns a
// promise of a token, after which it is tried again.
export async function follow(path, { event, state, token }) {
  let last = "";
  let delay = FIRST_DELAY;
  for (;;) {
    const abort = new AbortController();
    let silence;
    const watch = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(new Error("the server is silent")), SILENCE);
    };
    let reason = "the server has ended the stream";
    try {
      watch();
      const headers = { accept: "text/event-stream", ...(last && { "last-event-id": last }) };
      const answer = await request(path, { headers, signal: abort.signal });
      if (answer.status === 401) {
        clearTimeout(silence);
        const text = await answer.json().catch(() => ({}));
        state("lost", "a token is needed");
        setToken(await token(text.error ?? ""));
        continue;
      }
      if (!answer.ok) {
        throw new Error(`the server answers ${answer.status}`);
      }
      state("live", "", answer.headers.get("date"));
      const parse = parser((name, data, id) => {
        event(name, JSON.parse(data));
        last = id || last;
      });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        watch();
        delay = FIRST_DELAY;
        parse(piece.value);
      }
    } catch (error) {
      reason = error instanceof TypeError ? "the server cannot be reached" : error.message;
    }
    clearTimeout(silence);
    abort.abort();
    state("lost", reason);
    await new Promise((resolve) => setTimeout(resolve, delay * (0.5 + Math.random() / 2)));
    delay = Math.min(2 * delay, LONGEST_DELAY);
  }
}

// Returns a function that takes pieces of text and calls `found(name, data, id)` for each event in them.
function parser(found) {
  let pieces = [];
  return (piece) => {
    pieces.push(piece);
    // An event can come in many pieces, and ends with an empty line.
    if (!piece.includes("\n")) {
      return;
    }
    const events = pieces.join("").split("\n\n");
    pieces = [events.pop()];
    for (const text of events) {
      const fields = {};
      for (const line of text.split("\n")) {
        const at = line.indexOf(": ");
        fields[line.slice(0, at)] = line.slice(at + 2);
      }
      if (fields.data !== undefined) {
        found(fields.event, fields.data, fields.id);
      }
    }
  };
}
