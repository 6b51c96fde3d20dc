// What a chat body may say, checked once at the edge; used by `server.mjs`.
// A field that would change the answer and is not offered here is refused, never ignored.

/** A refusal, with the status and OpenAI's error fields. */
export class Refusal extends Error {
  constructor(status, message, { param = null, code = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, param, code, retryAfter });
  }

  body() {
    const type = this.status >= 500 ? "server_error" : "invalid_request_error";
    return { error: { message: this.message, type, param: this.param, code: this.code } };
  }
}

const ROLES = { system: "system", developer: "system", user: "user", assistant: "assistant" };
const MAX_STOPS = 4;
const MAX_TOP_LOGPROBS = 20;

/** A chat call with every field true, or a `Refusal`. `limits` maps a tier's name to its output tokens. */
export function chatCall(text, limits) {
  const body = object(text);
  const model = need(body, "model", (v) => typeof v === "string", "must be the name of a model");
  if (!limits.has(model)) {
    const known = [...limits.keys()].join(", ");
    const message = `there is no model \`${model}\`; there are ${known}`;
    throw new Refusal(404, message, { param: "model", code: "model_not_found" });
  }
  refuseUnoffered(body);
  const asked = may(body, "max_completion_tokens", isCount, "must be a whole number, 1 or more")
    ?? may(body, "max_tokens", isCount, "must be a whole number, 1 or more");
  const options = may(body, "stream_options", isObject, "must be an object") ?? {};
  return {
    model,
    messages: messages(body),
    maxTokens: Math.min(asked ?? Infinity, limits.get(model)),
    temperature: may(body, "temperature", (v) => isNumber(v, 0, 2), "must be a number from 0 to 2") ?? 1,
    topP: may(body, "top_p", (v) => isNumber(v, 0, 1) && v > 0, "must be a number above 0, at most 1") ?? 1,
    seed: may(body, "seed", isSeed, "must be a whole number from 0, below 2^32"),
    stop: stops(body),
    stream: may(body, "stream", isFlag, "must be true or false") ?? false,
    includeUsage: may(options, "include_usage", isFlag, "must be true or false") ?? false,
    logprobs: may(body, "logprobs", isFlag, "must be true or false") ?? false,
    topLogprobs: may(body, "top_logprobs", (v) => Number.isInteger(v) && isNumber(v, 0, MAX_TOP_LOGPROBS),
      `must be a whole number from 0 to ${MAX_TOP_LOGPROBS}`) ?? 0,
  };
}

const isObject = (v) => typeof v === "object" && v !== null && !Array.isArray(v);
const isFlag = (v) => typeof v === "boolean";
const isCount = (v) => Number.isInteger(v) && v >= 1;
const isSeed = (v) => Number.isInteger(v) && isNumber(v, 0, 2 ** 32 - 1);
const isList = (v) => Array.isArray(v) && v.length > 0;
const isNumber = (v, low, high) => typeof v === "number" && v >= low && v <= high;

function object(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch (e) {
    throw new Refusal(400, `the body is not JSON: ${e.message}`);
  }
  if (!isObject(body)) throw new Refusal(400, "the body must be a JSON object");
  return body;
}

function may(body, key, holds, mend) {
  const value = body[key];
  if (value === undefined || value === null) return undefined;
  if (!holds(value)) throw new Refusal(400, `\`${key}\` ${mend}`, { param: key });
  return value;
}

function need(body, key, holds, mend) {
  const value = may(body, key, holds, mend);
  if (value === undefined) throw new Refusal(400, `\`${key}\` is missing: it ${mend}`, { param: key });
  return value;
}

function refuseUnoffered(body) {
  const refuse = (key, what) => {
    throw new Refusal(400, `${what}: this server does not offer it`, { param: key, code: "unsupported_parameter" });
  };
  if ((body.n ?? 1) !== 1) refuse("n", "more than one choice");
  if ((body.tools ?? []).length !== 0) refuse("tools", "tools");
  if ((body.response_format?.type ?? "text") !== "text") refuse("response_format", "a response format other than text");
  for (const key of ["presence_penalty", "frequency_penalty"]) {
    if ((body[key] ?? 0) !== 0) refuse(key, `\`${key}\` other than 0`);
  }
  if (isObject(body.logit_bias) && Object.keys(body.logit_bias).length !== 0) refuse("logit_bias", "`logit_bias`");
}

function messages(body) {
  const list = need(body, "messages", isList, "must be a list with at least one message");
  return list.map((message, i) => {
    const at = (what) => new Refusal(400, `\`messages[${i}]\` ${what}`, { param: "messages" });
    if (!isObject(message)) throw at("must be an object");
    const role = Object.hasOwn(ROLES, message.role) ? ROLES[message.role] : undefined;
    if (role === undefined) throw at(`has a role that is none of ${Object.keys(ROLES).join(", ")}`);
    const parts = typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
    const isText = (part) => isObject(part) && part.type === "text" && typeof part.text === "string";
    if (!Array.isArray(parts) || !parts.every(isText)) throw at("must have text as its content");
    return { role, content: parts.map((part) => part.text).join("") };
  });
}

function stops(body) {
  const isText = (v) => typeof v === "string" && v.length > 0;
  const isSome = (v) => Array.isArray(v) && v.length <= MAX_STOPS && v.every(isText);
  const mend = `must be a text or at most ${MAX_STOPS} of them, none empty`;
  const given = may(body, "stop", (v) => isText(v) || isSome(v), mend);
  return given === undefined ? [] : [given].flat();
}
