// The weights behind the tiers: chat messages in, pieces of text out; used by `serve.mjs`.
// One context with one sequence, taken back before each call to the opening that every chat without
// a system message of its own begins with: an answer never depends on what was asked before it.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { Refusal } from "./request.mjs";

// The chat template in the weights' own metadata, written out; `open` compares it.
const SYSTEM = { role: "system", content: "You are a helpful AI assistant named SmolLM, trained by Hugging Face" };
const TEMPLATE = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
  + `{{ '<|im_start|>system\n${SYSTEM.content}<|im_end|>\n' }}{% endif %}`
  + "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
  + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** Loads the weights. `runtime` is the folder with `node_modules`. */
export async function open({ runtime, weights, contextTokens, threads }) {
  const entry = join(runtime, "node_modules", "node-llama-cpp", "dist", "index.js");
  const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry));
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: weights });
  if (model.fileInfo.metadata?.tokenizer?.chat_template !== TEMPLATE) {
    throw new Error("the weights have another chat template than this server writes");
  }
  const context = await model.createContext({ contextSize: contextTokens, sequences: 1, threads });
  const sequence = context.getSequence();
  const opening = message(model, SYSTEM);
  return {
    tokens: (messages) => chatTokens(model, messages),
    cached: (tokens) => (opening.every((token, i) => token === tokens[i]) ? opening.length : 0),
    answer: (tokens, call, signal) => answer(model, sequence, opening, tokens, call, signal),
  };
}

/** Brings the sequence to the beginning of `tokens` that is known, and gives its length. */
async function rewind(sequence, opening, tokens) {
  if (opening.some((token, i) => token !== tokens[i])) {
    await sequence.clearHistory();
    return 0;
  }
  const held = sequence.contextTokens;
  if (held.length < opening.length || opening.some((token, i) => token !== held[i])) {
    await sequence.clearHistory();
    // Always in a batch of its own: the same numbers to the last bit, whichever call is first.
    await sequence.evaluateWithoutGeneratingNewTokens(opening);
  } else {
    await sequence.eraseContextTokenRanges([{ start: opening.length, end: sequence.nextTokenIndex }]);
  }
  return opening.length;
}

/** The frame is made of special tokens; what people wrote never is, whatever it looks like. */
function chatTokens(model, messages) {
  const framed = messages[0].role === "system" ? messages : [SYSTEM, ...messages];
  return [
    ...framed.flatMap((one) => message(model, one)),
    ...model.tokenize("<|im_start|>", true), ...model.tokenize("assistant\n"),
  ];
}

function message(model, { role, content }) {
  const mark = (text) => model.tokenize(text, true);
  const plain = (text) => model.tokenize(text);
  return [...mark("<|im_start|>"), ...plain(`${role}\n${content}`), ...mark("<|im_end|>"), ...plain("\n")];
}

/**
 * Yields `{ text, tokens, logprobs }` as the answer grows and returns `{ finish, tokens }`.
 * Text is held back while it ends inside a character or may be the start of a stop text.
 */
async function* answer(model, sequence, opening, prompt, call, signal) {
  if (prompt.length + call.maxTokens > sequence.contextSize) {
    throw new Refusal(400, `the prompt has ${prompt.length} tokens and up to ${call.maxTokens} are asked for; `
      + `the context window has ${sequence.contextSize}`, { param: "messages", code: "context_length_exceeded" });
  }
  const known = await rewind(sequence, opening, prompt);
  const { temperature, topP, seed = randomSeed() } = call;
  const sampling = { temperature, topP, topK: 0, minP: 0, seed, yieldEogToken: true };
  const wanted = { confidence: call.logprobs, probabilities: call.topLogprobs > 0 };
  const made = [];
  let sent = 0;
  let pending = [];
  for await (const next of sequence.evaluateWithMetadata(prompt.slice(known), wanted, sampling)) {
    if (signal.aborted) return { finish: "stop", tokens: made.length };
    if (model.isEogToken(next.token)) {
      if (pending.length > 0) yield { text: model.detokenize(made).slice(sent), logprobs: pending };
      return { finish: "stop", tokens: made.length };
    }
    made.push(next.token);
    if (call.logprobs) pending.push(logprob(model, next, call.topLogprobs));
    const text = model.detokenize(made);
    const cut = firstStop(text, call.stop);
    const full = made.length === call.maxTokens;
    const end = cut ?? (full ? text.length : text.length - heldBack(text, call.stop));
    if (end > sent || full || cut !== undefined) {
      yield { text: text.slice(sent, Math.max(end, sent)), logprobs: pending };
      [sent, pending] = [Math.max(end, sent), []];
    }
    if (cut !== undefined) return { finish: "stop", tokens: made.length };
    if (full) return { finish: "length", tokens: made.length };
  }
  return { finish: "stop", tokens: made.length };
}

function firstStop(text, stops) {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length > 0 ? Math.min(...found) : undefined;
}

function heldBack(text, stops) {
  const halfCharacter = text.length - text.replace(/\uFFFD+$/, "").length;
  const begun = stops.map((stop) => {
    for (let n = Math.min(stop.length - 1, text.length); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
    return 0;
  });
  return Math.max(halfCharacter, ...begun, 0);
}

function logprob(model, { token, confidence, probabilities }, n) {
  const named = (id, p) => {
    const text = model.detokenize([id]);
    return { token: text, logprob: Math.log(Math.max(p, 1e-30)), bytes: [...Buffer.from(text)] };
  };
  const top = [...(probabilities ?? [])].slice(0, n);
  return { ...named(token, confidence), top_logprobs: top.map(([id, p]) => named(id, p)) };
}

function randomSeed() {
  return Math.floor(Math.random() * 2 ** 32);
}
