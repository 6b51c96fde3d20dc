// The weights behind the tiers: chat messages in, pieces of text out; used by `serve.mjs`.
// One context with one sequence, emptied before each call, so that an answer never depends on
// what was asked before it.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { Refusal } from "./request.mjs";

// The chat template in the weights' own metadata, written out; `open` compares it.
const DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
const TEMPLATE = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
  + `{{ '<|im_start|>system\n${DEFAULT_SYSTEM}<|im_end|>\n' }}{% endif %}`
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
  return {
    contextTokens,
    tokens: (messages) => chatTokens(model, messages),
    answer: (tokens, call, signal) => answer(model, sequence, tokens, call, signal),
    close: () => llama.dispose(),
  };
}

/** The frame is made of special tokens; what people wrote never is, whatever it looks like. */
function chatTokens(model, messages) {
  const framed = messages[0].role === "system" ? messages : [{ role: "system", content: DEFAULT_SYSTEM }, ...messages];
  const special = (text) => model.tokenize(text, true);
  const plain = (text) => model.tokenize(text, false, "trimLeadingSpace");
  return [
    ...framed.flatMap(({ role, content }) => [
      ...special("<|im_start|>"), ...plain(`${role}\n${content}`), ...special("<|im_end|>"), ...plain("\n"),
    ]),
    ...special("<|im_start|>"), ...plain("assistant\n"),
  ];
}

/**
 * Yields `{ text, tokens, logprobs }` as the answer grows and returns `{ finish, tokens }`.
 * Text is held back while it ends inside a character or may be the start of a stop text.
 */
async function* answer(model, sequence, prompt, call, signal) {
  if (prompt.length + call.maxTokens > sequence.contextSize) {
    throw new Refusal(400, `the prompt has ${prompt.length} tokens and up to ${call.maxTokens} are asked for; `
      + `the context window has ${sequence.contextSize}`, { param: "messages", code: "context_length_exceeded" });
  }
  await sequence.clearHistory();
  const sampling = { temperature: call.temperature, topP: call.topP, topK: 0, minP: 0, seed: call.seed ?? randomSeed(), yieldEogToken: true };
  const wanted = { confidence: call.logprobs, probabilities: call.topLogprobs > 0 };
  const made = [];
  let sent = 0;
  let pending = [];
  for await (const next of sequence.evaluateWithMetadata(prompt, wanted, sampling)) {
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
