// "Try it": asks this service what the form says and shows what came. Nothing is kept; text never becomes markup.

const SHOWN_BYTES_MAX = 64 * 1024;
const STREAM_MS = 5000;
const HEADERS = ["content-type", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id"];

const keyField = document.querySelector("#key");

for (const form of document.querySelectorAll("form[data-path]")) {
  const shown = form.nextElementSibling;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    shown.hidden = false;
    shown.textContent = "...";
    try {
      shown.textContent = await ask(addressOf(form));
    } catch (error) {
      shown.textContent = `${error.name}: ${error.message}`;
    }
  });
}

for (const link of document.querySelectorAll("a[data-port]")) {
  link.href = `http://${location.hostname}:${link.dataset.port}${link.dataset.path}`;
  link.textContent = link.href;
}

function addressOf(form) {
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const [name, value] of new FormData(form)) {
    if (path.includes(`{${name}}`)) path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "") query.append(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function ask(address) {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), STREAM_MS);
  const headers = keyField.value ? { "X-API-Key": keyField.value } : {};
  try {
    const response = await fetch(address, { headers, signal: ending.signal });
    const told = HEADERS.filter((name) => response.headers.has(name));
    const head = told.map((name) => `${name}: ${response.headers.get(name)}`);
    const body = await beginningOf(response);
    return [`GET ${address}`, `${response.status} ${response.statusText}`, ...head, "", pretty(body)].join("\n");
  } finally {
    clearTimeout(timer);
    ending.abort();
  }
}

// As much as is worth showing; of a stream what comes within the time.
async function beginningOf(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (text.length < SHOWN_BYTES_MAX) {
      const { value, done } = await reader.read();
      if (done) return text;
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
  return `${text.slice(0, SHOWN_BYTES_MAX)}\n... and more`;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
