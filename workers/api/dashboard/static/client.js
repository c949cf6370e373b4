// The API as the page uses it: JSON, an answer within some seconds or an error that can be shown, one poll at a time.

const ANSWER_MS = 5000; // the node answers within milliseconds: whoever needs this long does not answer

export class ApiError extends Error {
  constructor(status, code, message, field = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.field = field; // the one that is to blame
  }
}

async function ask(path, options, signal) {
  const limit = AbortSignal.timeout(ANSWER_MS);
  let response;
  let body;
  try {
    response = await fetch(path, { ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit });
    body = await response.json();
  } catch {
    throw new ApiError(response?.status ?? 0, "unreachable", "The node does not answer.");
  }
  if (!response.ok) throw new ApiError(response.status, body.code ?? "", body.detail ?? body.title ?? response.statusText, body.field);
  return body;
}

export const get = (path, signal) => ask(path, { headers: { Accept: "application/json" } }, signal);

export const post = (path, body) => send("POST", path, body);

// A change, by any of HTTP's words for one.
export function send(method, path, body = {}) {
  const token = document.cookie.split("; ").find((part) => part.startsWith("trinity_csrf="))?.slice("trinity_csrf=".length);
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": token ?? "" };
  return ask(path, { method, headers, body: JSON.stringify(body) });
}

// Runs `turn(signal)` again and again, `pause` ms after its end, never twice at once. Returns what stops it: then the
// signal is aborted, and whatever `turn` still gets is not to be shown.
export function poll(pause, turn) {
  const gone = new AbortController();
  let timer;
  const run = async () => {
    await turn(gone.signal);
    if (!gone.signal.aborted) timer = setTimeout(run, pause);
  };
  run();
  return () => {
    gone.abort();
    clearTimeout(timer);
  };
}
