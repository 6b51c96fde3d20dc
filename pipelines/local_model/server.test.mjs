// What the server promises, over real HTTP with a model that is made up: `node --test pipelines/local_model`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { Refusal } from "./request.mjs";
import { app } from "./server.mjs";

const limits = new Map([["smol-2", 2], ["smol-9", 9]]);
const CAPACITY = 2;
let gate = Promise.resolve();
let atOnce = 0;
let base = "";
let server;

/** Says "one two three" and stops; a token is a word. */
const model = {
  tokens: (messages) => messages.flatMap((message) => message.content.split(" ")),
  cached: () => 1,
  async *answer(tokens, call) {
    if (tokens.length > 50) throw new Refusal(400, "too long", { code: "context_length_exceeded" });
    atOnce += 1;
    assert.equal(atOnce, 1, "one call at a time");
    try {
      await gate;
      const words = ["one", " two", " three"].slice(0, call.maxTokens);
      for (const text of words) yield { text, logprobs: call.logprobs ? [{ token: text, logprob: -1 }] : [] };
      return { finish: words.length < 3 ? "length" : "stop", tokens: words.length };
    } finally {
      atOnce -= 1;
    }
  },
};

before(async () => {
  server = app({ model, limits, queueCapacity: CAPACITY, fingerprint: "test" });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());

const ask = (body, path = "/v1/chat/completions") =>
  fetch(base + path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
const call = (more = {}) => ({ model: "smol-9", messages: [{ role: "user", content: "count to three" }], ...more });

test("an answer with usage", async () => {
  const reply = await (await ask(call())).json();
  assert.deepEqual(reply.choices, [
    { index: 0, message: { role: "assistant", content: "one two three" }, logprobs: null, finish_reason: "stop" },
  ]);
  assert.deepEqual(
    { ...reply.usage },
    { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6, prompt_tokens_details: { cached_tokens: 1 } },
  );
});

test("limits of the tier and of the call", async () => {
  const cases = [
    [{ model: "smol-2" }, "one two", "length"],
    [{ max_tokens: 1 }, "one", "length"],
    [{ model: "smol-2", max_tokens: 8 }, "one two", "length"],
    [{ max_completion_tokens: 1, max_tokens: 3 }, "one", "length"],
    [{ max_tokens: 3 }, "one two three", "stop"],
  ];
  for (const [more, content, finish] of cases) {
    const { choices: [choice] } = await (await ask(call(more))).json();
    assert.deepEqual([choice.message.content, choice.finish_reason], [content, finish]);
  }
});

test("a stream ends with the reason, the usage and [DONE]", async () => {
  const more = { stream: true, stream_options: { include_usage: true }, logprobs: true };
  const text = await (await ask(call(more))).text();
  const events = text.trim().split("\n\n").map((event) => event.replace(/^data: /, ""));
  assert.equal(events.pop(), "[DONE]");
  const chunks = events.map((event) => JSON.parse(event));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), "one two three");
  assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
  assert.equal(chunks.at(-1).usage.completion_tokens, 3);
  assert.equal(chunks[1].choices[0].logprobs.content[0].logprob, -1);
});

test("refusals", async () => {
  const cases = [
    ["{", 400, "not JSON"],
    ["[]", 400, "JSON object"],
    [Buffer.from([0x22, 0xff]), 400, "not UTF-8"],
    [{ messages: [] }, 400, "`model` is missing"],
    [call({ model: "gpt" }), 404, "smol-2, smol-9"],
    [call({ messages: [] }), 400, "`messages`"],
    [call({ messages: [{ role: "toString", content: "x" }] }), 400, "messages[0]"],
    [call({ messages: [{ role: "user", content: [{ type: "image_url" }] }] }), 400, "text as its content"],
    [call({ messages: [{ role: "user", content: "a ".repeat(60) }] }), 400, "too long"],
    [call({ max_tokens: 0 }), 400, "`max_tokens`"],
    [call({ temperature: "hot" }), 400, "`temperature`"],
    [call({ seed: -1 }), 400, "`seed`"],
    [call({ n: 2 }), 400, "more than one choice"],
    [call({ tools: [{}] }), 400, "tools"],
    [call({ response_format: { type: "json_object" } }), 400, "response format"],
    ["x".repeat((1 << 20) + 1), 413, "bytes"],
  ];
  for (const [body, status, part] of cases) {
    const response = await fetch(`${base}/v1/chat/completions`, {
      method: "POST",
      body: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
    });
    const { error } = await response.json();
    assert.deepEqual([response.status, error.message.includes(part)], [status, true], error.message);
  }
});

test("paths and methods", async () => {
  const models = await (await fetch(`${base}/v1/models`)).json();
  assert.deepEqual(models.data.map((model) => model.id), ["smol-2", "smol-9"]);
  assert.equal((await fetch(`${base}/health`)).status, 200);
  assert.equal((await fetch(`${base}/v1/chat/completions`)).status, 405);
  assert.equal((await ask({}, "/v1/nothing")).status, 404);
});

test("who comes when the queue is full is told to come again", async () => {
  let open;
  gate = new Promise((resolve) => { open = resolve; });
  const calls = Array.from({ length: CAPACITY + 2 }, () => ask(call()));
  const refused = await Promise.race(calls);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  open();
  const statuses = (await Promise.all(calls)).map((response) => response.status);
  assert.deepEqual(statuses.sort(), [200, 200, 200, 429]);
  gate = Promise.resolve();
});
