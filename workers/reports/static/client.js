// The API as the page uses it: JSON over GET, one event stream of prices, and the operator's session.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export async function get(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body.code ?? "", body.detail ?? body.title ?? response.statusText);
  return body;
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrfToken() };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer.code ?? "", answer.detail ?? response.statusText);
  return answer;
}

function csrfToken() {
  const found = document.cookie.split("; ").find((part) => part.startsWith("trinity_csrf="));
  return found ? found.slice("trinity_csrf=".length) : "";
}

// Newest event of each asset; the browser reconnects by itself, unless it was refused. Whoever listens is called for every event.
export const prices = new Map();
const listeners = new Set();

export function listen(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

let stream;

export function openStream(onState) {
  stream?.close();
  stream = new EventSource("/stream/prices");
  stream.onopen = () => onState("live", "good");
  stream.onerror = () => onState("no connection", "bad");
  stream.addEventListener("price", (event) => take(JSON.parse(event.data)));
}

function take(price) {
  prices.set(price.asset, price);
  for (const callback of listeners) callback(price);
}
