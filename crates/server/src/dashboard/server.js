// Asks the server that this page came from.

const KEY = "tiercast-key";
const PATIENCE_MS = 10_000;

// The server answered, and said no.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  const signals = [AbortSignal.timeout(PATIENCE_MS), options.signal].filter(Boolean);
  const reply = await fetch(path, { ...options, headers, signal: AbortSignal.any(signals), cache: "no-store" });
  const text = await reply.text();
  if (!reply.ok) throw new Refused(reply.status, message(text) ?? `the server answered ${reply.status}`);
  return JSON.parse(text);
}

function message(text) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return null;
  }
}

export const stats = () => ask("/v1/stats");
export const decisions = (limit) => ask(`/v1/decisions?limit=${limit}`).then((reply) => reply.decisions);
export const decision = (id) => ask(`/v1/decisions/${encodeURIComponent(id)}`);

// What would be decided. `quality` is a floor, or with a confidence the quality to reach with that probability.
export function route(prompt, { quality, confidence, signal }) {
  const headers = { "content-type": "application/json", "x-tiercast-quality": String(quality) };
  if (confidence !== null) headers["x-tiercast-confidence"] = String(confidence);
  const body = JSON.stringify({ model: "auto", messages: [{ role: "user", content: prompt }] });
  return ask("/v1/route", { method: "POST", headers, body, signal });
}
