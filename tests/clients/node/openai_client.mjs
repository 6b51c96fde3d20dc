// The official OpenAI client against the gateway: chat and responses, plain, streamed, with tools.
//
//     npm ci --ignore-scripts --prefix tests/clients/node
//     node tests/clients/node/openai_client.mjs http://127.0.0.1:PORT
//
// Behind the gateway stand two tiers, `large` and `small`, which both answer `recording.json`. One line
// is printed per check; the first that fails ends the run with its traceback.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { VERSION } from "openai/version";
import { z } from "zod";

const TIERS = ["large", "small"];
const RECORDING = JSON.parse(readFileSync(new URL("../recording.json", import.meta.url), "utf8"));
const [FLAG, LOG, WEATHER, RESULT, COAT, PIERS, HARBOUR] = RECORDING;
const TOOLS = WEATHER.tools;
// The Responses API has no `function` level.
const FLAT_TOOLS = TOOLS.map((tool) => ({ type: "function", strict: false, ...tool.function }));
const Harbour = z.object({ name: z.string(), berths: z.number().int(), is_open: z.boolean() });

// A retry would hide a fault.
const baseURL = process.argv[2].replace(/\/+$/, "") + "/v1";
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 30_000 });

const ask = (row, more = {}) => client.chat.completions.create({ model: "auto", messages: row.messages, ...more });

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

const checks = {
  async models() {
    const names = (await all(client.models.list())).map((model) => model.id);
    for (const name of ["auto", ...TIERS]) assert(names.includes(name), `${name} of ${names}`);
  },

  async chat() {
    const { data: reply, response } = await ask(FLAG, { temperature: 0 }).withResponse();
    assert(TIERS.includes(response.headers.get("x-tiercast-tier")));
    assert(response.headers.get("x-tiercast-decision-id"));
    assert.equal(reply.object, "chat.completion");
    assert(reply.id && reply.model);
    const [choice] = reply.choices;
    assert.deepEqual([choice.message.role, choice.message.content, choice.finish_reason], ["assistant", FLAG.text, "stop"]);
    checkChatUsage(reply.usage, FLAG);
  },

  async modelNames() {
    for (const model of ["auto:cheap", "auto:best", "auto:q=0.8", ...TIERS]) {
      const { data: reply, response } = await ask(LOG, { model }).withResponse();
      const tier = response.headers.get("x-tiercast-tier");
      assert(TIERS.includes(model) ? tier === model : TIERS.includes(tier), `${model}: ${tier}`);
      assert.equal(reply.choices[0].message.content, LOG.text);
    }
  },

  async chatStream() {
    const { data: stream, response } = await ask(LOG, { stream: true }).withResponse();
    assert(response.headers.get("content-type").startsWith("text/event-stream"));
    assert(TIERS.includes(response.headers.get("x-tiercast-tier")));
    const choices = (await all(stream)).flatMap((chunk) => chunk.choices);
    const pieces = choices.map((choice) => choice.delta.content).filter(Boolean);
    assert(pieces.length > 1);
    assert.equal(pieces.join(""), LOG.text);
    assert.equal(choices[0].delta.role, "assistant");
    assert.equal(choices.at(-1).finish_reason, "stop");
  },

  async usageOfStreams() {
    const chunks = await all(await ask(LOG, { stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(chunks.filter((chunk) => chunk.usage), [chunks.at(-1)]);
    assert.deepEqual(chunks.at(-1).choices, []);
    checkChatUsage(chunks.at(-1).usage, LOG);
    for (const more of [{}, { stream_options: { include_usage: false } }]) {
      const chunks = await all(await ask(LOG, { stream: true, ...more }));
      assert(chunks.every((chunk) => !chunk.usage && chunk.choices.length), "no usage that was not asked for");
    }
  },

  async chatTools() {
    for (const row of [WEATHER, PIERS]) {
      const reply = await ask(row, { tools: TOOLS });
      const [choice] = reply.choices;
      assert.equal(choice.finish_reason, "tool_calls");
      assert(!choice.message.content);
      checkCalls(choice.message.tool_calls, row);
      checkChatUsage(reply.usage, row);
    }
  },

  async chatToolsStream() {
    for (const row of [WEATHER, PIERS]) {
      const stream = client.chat.completions.stream({ model: "auto", messages: row.messages, tools: TOOLS });
      const [choice] = (await stream.finalChatCompletion()).choices;
      assert.equal(choice.finish_reason, "tool_calls");
      checkCalls(choice.message.tool_calls, row);
    }
  },

  async chatToolResult() {
    const { id, type, function: called } = (await ask(WEATHER, { tools: TOOLS })).choices[0].message.tool_calls[0];
    const asked = { id, type, function: { name: called.name, arguments: called.arguments } };
    const result = { role: "tool", tool_call_id: id, content: COAT.messages[2].content };
    const turns = [...WEATHER.messages, { role: "assistant", content: null, tool_calls: [asked] }, result, COAT.messages[3]];
    // A person says something after the result; an agent sends it alone.
    for (const [row, messages] of [[COAT, turns], [RESULT, RESULT.messages]]) {
      const reply = await ask(row, { messages, tools: TOOLS });
      assert.equal(reply.choices[0].message.content, row.text);
      const chunks = await all(await ask(row, { messages, tools: TOOLS, stream: true }));
      assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), row.text);
    }
  },

  async chatSchema() {
    const response_format = zodResponseFormat(Harbour, "harbour");
    const reply = await client.chat.completions.parse({ model: "auto", messages: HARBOUR.messages, response_format });
    assert.deepEqual(reply.choices[0].message.parsed, JSON.parse(HARBOUR.text));
  },

  async responses() {
    const { data: reply, response } = await client.responses
      .create({ model: "auto", input: FLAG.messages[0].content })
      .withResponse();
    assert(TIERS.includes(response.headers.get("x-tiercast-tier")));
    assert.deepEqual([reply.object, reply.status, reply.error], ["response", "completed", null]);
    assert.equal(reply.output_text, FLAG.text);
    checkResponsesUsage(reply.usage, FLAG);
    const [system, user] = LOG.messages;
    const other = await client.responses.create({ model: "large", instructions: system.content, input: [user] });
    assert.equal(other.output_text, LOG.text);
  },

  async responsesStream() {
    const [system, user] = LOG.messages;
    const stream = client.responses.stream({ model: "auto", instructions: system.content, input: [user] });
    const events = await all(stream);
    assert.equal(events[0].type, "response.created");
    assert.equal(events.at(-1).type, "response.completed");
    const pieces = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
    assert(pieces.length > 1);
    assert.equal(pieces.join(""), LOG.text);
    const reply = await stream.finalResponse();
    assert.equal(reply.output_text, LOG.text);
    checkResponsesUsage(reply.usage, LOG);
  },

  async responsesTools() {
    for (const row of [WEATHER, PIERS]) {
      const reply = await client.responses.create({ model: "auto", input: row.messages, tools: FLAT_TOOLS });
      checkItems(reply.output, row);
      checkResponsesUsage(reply.usage, row);
    }
  },

  async responsesToolResult() {
    const asked = await client.responses.create({ model: "auto", input: WEATHER.messages, tools: FLAT_TOOLS });
    const [{ call_id, arguments: text }] = asked.output;
    const recorded = RESULT.messages[1].tool_calls[0];
    for (const [row, more, id, args] of [
      [COAT, [COAT.messages[3]], call_id, text],
      [RESULT, [], recorded.id, recorded.function.arguments],
    ]) {
      const called = { type: "function_call", call_id: id, name: "get_weather", arguments: args };
      const result = { type: "function_call_output", call_id: id, output: row.messages[2].content };
      const input = [row.messages[0], called, result, ...more];
      const reply = await client.responses.create({ model: "auto", input, tools: FLAT_TOOLS });
      assert.equal(reply.output_text, row.text);
    }
  },

  async responsesToolsStream() {
    for (const row of [WEATHER, PIERS]) {
      const stream = client.responses.stream({ model: "auto", input: row.messages, tools: FLAT_TOOLS });
      checkItems((await stream.finalResponse()).output, row);
    }
  },

  async responsesSchema() {
    const text = { format: zodTextFormat(Harbour, "harbour") };
    const reply = await client.responses.parse({ model: "auto", input: HARBOUR.messages, text });
    assert.deepEqual(reply.output_parsed, JSON.parse(HARBOUR.text));
  },

  async unknownModel() {
    for (const call of [
      () => ask(FLAG, { model: "enormous" }),
      () => ask(FLAG, { model: "enormous", stream: true }),
      () => client.responses.create({ model: "enormous", input: "Hello" }),
    ]) {
      const error = await refusal(call, OpenAI.NotFoundError);
      for (const tier of TIERS) assert.match(error.message, new RegExp(`\\b${tier}\\b`));
    }
  },

  async badQuality() {
    const headers = { "x-tiercast-quality": "2" };
    const call = () => client.chat.completions.create({ model: "auto", messages: FLAG.messages }, { headers });
    assert.match((await refusal(call, OpenAI.BadRequestError)).message, /quality/);
  },

  async badBody() {
    await refusal(() => ask(FLAG, { messages: [] }), OpenAI.BadRequestError);
    await refusal(() => ask(FLAG, { messages: "Hello" }), OpenAI.BadRequestError);
  },

  // A client that goes away in the middle does not disturb the next call.
  async leaving() {
    for await (const _ of await ask(LOG, { stream: true })) break;
    assert.equal((await ask(FLAG)).choices[0].message.content, FLAG.text);
  },
};

function checkChatUsage({ prompt_tokens, completion_tokens, total_tokens }, row) {
  const { input_tokens, output_tokens } = row;
  const counts = [prompt_tokens, completion_tokens, total_tokens];
  assert.deepEqual(counts, [input_tokens, output_tokens, input_tokens + output_tokens]);
}

function checkResponsesUsage({ input_tokens, output_tokens, total_tokens }, row) {
  const counts = [input_tokens, output_tokens, total_tokens];
  assert.deepEqual(counts, [row.input_tokens, row.output_tokens, row.input_tokens + row.output_tokens]);
}

function checkCalls(calls, row) {
  const read = (call) => [call.id, call.function.name, JSON.parse(call.function.arguments)];
  assert.deepEqual(calls.map(read), row.tool_calls.map(read));
}

function checkItems(items, row) {
  assert(items.every((item) => item.type === "function_call"));
  const found = items.map((item) => [item.call_id, item.name, JSON.parse(item.arguments)]);
  const recorded = row.tool_calls.map((call) => [call.id, call.function.name, JSON.parse(call.function.arguments)]);
  assert.deepEqual(found, recorded);
}

// The error of a call. Its body is OpenAI's: `message` and `type`.
async function refusal(call, kind) {
  try {
    await call();
  } catch (error) {
    assert(error instanceof kind, error);
    assert(error.error.message && error.error.type, JSON.stringify(error.error));
    return error;
  }
  assert.fail(`${kind.name} was to come`);
}

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`openai node ${VERSION}: ${name}`);
}
