// The official Anthropic client against the gateway: messages, plain, streamed, with tools.
//
//     npm ci --ignore-scripts --prefix tests/clients/node
//     node tests/clients/node/anthropic_client.mjs http://127.0.0.1:PORT
//
// Behind the gateway stand two tiers, `large` and `small`, which both answer `recording.json`. One line
// is printed per check; the first that fails ends the run with its traceback.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";
import { VERSION } from "@anthropic-ai/sdk/version";

const TIERS = ["large", "small"];
const RECORDING = JSON.parse(readFileSync(new URL("../recording.json", import.meta.url), "utf8"));
const [FLAG, LOG, WEATHER, RESULT, COAT, PIERS, HARBOUR] = RECORDING;
const TOOLS = WEATHER.tools.map(({ function: { name, description, parameters } }) => ({
  name,
  description,
  input_schema: parameters,
}));
const SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, berths: { type: "integer" }, is_open: { type: "boolean" } },
  required: ["name", "berths", "is_open"],
  additionalProperties: false,
};

// A retry would hide a fault.
const baseURL = process.argv[2].replace(/\/+$/, "");
const client = new Anthropic({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 30_000 });

// The arguments of a call that asks what a row asks.
function asked(row, more = {}) {
  const messages = row.messages.filter((message) => message.role !== "system");
  assert.equal(messages.length, 1);
  return { model: "auto", max_tokens: 256, messages, ...more };
}

const checks = {
  async plain() {
    const { data: reply, response } = await client.messages.create(asked(FLAG)).withResponse();
    assert(TIERS.includes(response.headers.get("x-tiercast-tier")));
    assert(response.headers.get("x-tiercast-decision-id"));
    assert.deepEqual([reply.type, reply.role], ["message", "assistant"]);
    assert(reply.id && reply.model);
    checkText(reply, FLAG);
  },

  async modelNames() {
    for (const model of ["auto:cheap", "auto:best", "auto:q=0.8", ...TIERS]) {
      const { data: reply, response } = await client.messages.create(asked(FLAG, { model })).withResponse();
      const tier = response.headers.get("x-tiercast-tier");
      assert(TIERS.includes(model) ? tier === model : TIERS.includes(tier), `${model}: ${tier}`);
      checkText(reply, FLAG);
    }
  },

  async system() {
    const text = LOG.messages[0].content;
    for (const system of [text, [{ type: "text", text }]]) {
      checkText(await client.messages.create(asked(LOG, { system })), LOG);
    }
  },

  async stream() {
    const stream = client.messages.stream(asked(LOG, { system: LOG.messages[0].content }));
    const pieces = [];
    stream.on("text", (piece) => pieces.push(piece));
    checkText(await stream.finalMessage(), LOG);
    assert(pieces.length > 1);
    assert.equal(pieces.join(""), LOG.text);
    assert(TIERS.includes(stream.response.headers.get("x-tiercast-tier")));
  },

  async tools() {
    for (const row of [WEATHER, PIERS]) {
      checkCalls(await client.messages.create(asked(row, { tools: TOOLS })), row);
    }
  },

  async toolsStream() {
    for (const row of [WEATHER, PIERS]) {
      const stream = client.messages.stream(asked(row, { tools: TOOLS, tool_choice: { type: "auto" } }));
      checkCalls(await stream.finalMessage(), row);
    }
  },

  async toolResult() {
    const [block] = (await client.messages.create(asked(WEATHER, { tools: TOOLS }))).content;
    const recorded = RESULT.messages[1].tool_calls[0];
    // A person says something after the result; an agent sends it alone.
    for (const [row, more, id, input] of [
      [COAT, [{ type: "text", text: COAT.messages[3].content }], block.id, block.input],
      [RESULT, [], recorded.id, JSON.parse(recorded.function.arguments)],
    ]) {
      const called = { type: "tool_use", id, name: "get_weather", input };
      const result = { type: "tool_result", tool_use_id: id, content: row.messages[2].content };
      const messages = [
        row.messages[0],
        { role: "assistant", content: [called] },
        { role: "user", content: [result, ...more] },
      ];
      const again = { model: "auto", max_tokens: 256, messages, tools: TOOLS };
      checkText(await client.messages.create(again), row);
      checkText(await client.messages.stream(again).finalMessage(), row);
    }
  },

  async schema() {
    const output_config = { format: { type: "json_schema", schema: SCHEMA } };
    const reply = await client.messages.create(asked(HARBOUR, { output_config }));
    assert.deepEqual(JSON.parse(reply.content[0].text), JSON.parse(HARBOUR.text));
  },

  async unknownModel() {
    for (const stream of [false, true]) {
      const call = () => client.messages.create(asked(FLAG, { model: "enormous", stream }));
      const error = await refusal(call, Anthropic.NotFoundError);
      assert.equal(error.type, "not_found_error");
      for (const tier of TIERS) assert.match(error.message, new RegExp(`\\b${tier}\\b`));
    }
  },

  async badQuality() {
    const headers = { "x-tiercast-quality": "2" };
    const error = await refusal(() => client.messages.create(asked(FLAG), { headers }), Anthropic.BadRequestError);
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /quality/);
  },

  async badBody() {
    const call = () => client.messages.create({ model: "auto", max_tokens: 256, messages: [] });
    assert.equal((await refusal(call, Anthropic.BadRequestError)).type, "invalid_request_error");
  },
};

function checkText(reply, row) {
  assert.deepEqual(reply.content.map((block) => [block.type, block.text]), [["text", row.text]]);
  assert.equal(reply.stop_reason, "end_turn");
  checkUsage(reply, row);
}

function checkCalls(reply, row) {
  assert.equal(reply.stop_reason, "tool_use");
  const found = reply.content.map((block) => [block.type, block.name, block.input]);
  const recorded = row.tool_calls.map((call) => ["tool_use", call.function.name, JSON.parse(call.function.arguments)]);
  assert.deepEqual(found, recorded);
  assert.equal(new Set(reply.content.map((block) => block.id)).size, found.length);
  checkUsage(reply, row);
}

function checkUsage({ usage }, row) {
  assert.deepEqual([usage.input_tokens, usage.output_tokens], [row.input_tokens, row.output_tokens]);
}

// The `error` of a refused call's body, which is Anthropic's.
async function refusal(call, kind) {
  try {
    await call();
  } catch (error) {
    assert(error instanceof kind, error);
    assert.equal(error.error.type, "error");
    assert(error.error.error.message, JSON.stringify(error.error));
    return error.error.error;
  }
  assert.fail(`${kind.name} was to come`);
}

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`anthropic node ${VERSION}: ${name}`);
}
