// The playground: the decision on a typed prompt, again whenever a dial moves.

import { ofAnswer, tiers, why } from "./decision.js";
import { h, name, plain, show } from "./dom.js";
import { ms, quality, usd } from "./number.js";
import * as server from "./server.js";

const WAIT_MS = 200;

const form = document.getElementById("ask");
const prompt = document.getElementById("prompt");
const target = document.getElementById("target");
const confidence = document.getElementById("confidence");
const verdict = document.getElementById("verdict");
const body = document.getElementById("verdict-body");

let timer = null;
let underWay = new AbortController();
let before = null;

function dials() {
  return { quality: target.valueAsNumber, confidence: Number.isNaN(confidence.valueAsNumber) ? null : confidence.valueAsNumber };
}

function changed() {
  show(document.getElementById("target-value"), quality(target.valueAsNumber));
  target.setAttribute("aria-valuetext", `quality ${quality(target.valueAsNumber)}`);
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

async function ask() {
  underWay.abort();
  underWay = new AbortController();
  const { signal } = underWay;
  if (!prompt.value.trim()) return clear("Type a prompt to see which tier would be chosen.");
  if (!confidence.checkValidity()) return clear("The confidence is a number from 0 to 1.");
  const asked = dials();
  try {
    const reply = await server.route(prompt.value, { ...asked, signal });
    if (!signal.aborted) draw(reply, asked);
  } catch (error) {
    if (signal.aborted) return;
    clear(plain(error instanceof server.Refused ? error.message : `The server does not answer (${error.message}). Change something to try again.`));
  }
}

function clear(says) {
  before = null;
  show(verdict, says);
  show(body);
}

function draw(reply, asked) {
  const { decision, evidence } = reply;
  const isSame = before?.prompt === prompt.value && before.tier !== decision.tier;
  const turned = isSame ? [" Before, at ", quality(before.quality), ", it was ", name(before.tier), "."] : null;
  if (before?.prompt !== prompt.value || before.tier !== decision.tier) before = { prompt: prompt.value, tier: decision.tier };
  before.quality = asked.quality;
  const seen = ofAnswer(reply, asked.quality);
  show(verdict, why(seen), `Expected quality ${quality(decision.quality_mean)} for ${usd(decision.cost_usd)}.`, turned);
  show(body,
    tiers(seen),
    h("p.soft", `Similarity to the nearest training prompts ${quality(evidence.similarity)}, doubt ${quality(evidence.doubt)}. `,
      `Decided in ${ms(reply.overhead_ms)}; decision `, h("code", name(decision.id, 80)), "."));
}

export function start() {
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
  });
  changed();
}

// Asks again, as after a key was given.
export const again = changed;
