// The HTTP side: OpenAI's chat completions over a model that is handed in, one call at a time.

import { createServer } from "node:http";

import { Refusal, chatCall } from "./request.mjs";

const BODY_LIMIT_BYTES = 1 << 20;

/** A server that is not listening yet. `model` is what `model.mjs` opens; `limits` names the tiers. */
export function app({ model, limits, queueCapacity, fingerprint }) {
  const line = queue(queueCapacity);
  const started = seconds();
  const server = createServer({ requestTimeout: 30_000 }, async (request, response) => {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    try {
      await route(request, response, gone.signal);
    } catch (error) {
      fail(response, error);
    }
  });
  return server;

  async function route(request, response, signal) {
    const [path] = request.url.split("?");
    if (path === "/v1/chat/completions") {
      allow(request, "POST");
      const call = chatCall(await text(request), limits);
      await line(signal, () => chat(call, response, signal));
    } else if (path === "/v1/models" || path === "/health") {
      allow(request, "GET");
      const models = { object: "list", data: [...limits.keys()].map(described) };
      send(response, 200, path === "/health" ? { status: "ok" } : models);
    } else {
      throw new Refusal(404, `there is no ${path}; there are /v1/chat/completions, /v1/models and /health`);
    }
  }

  function described(id) {
    return { id, object: "model", created: started, owned_by: "tiercast-local", max_output_tokens: limits.get(id) };
  }

  async function chat(call, response, signal) {
    const prompt = model.tokens(call.messages);
    const pieces = model.answer(prompt, call, signal);
    const write = call.stream ? streamed(call, response) : whole(response);
    let step = await pieces.next();
    write.begin(head(call));
    for (; !step.done; step = await pieces.next()) write.piece(step.value);
    const { finish, tokens } = step.value;
    write.end(finish, {
      prompt_tokens: prompt.length,
      completion_tokens: tokens,
      total_tokens: prompt.length + tokens,
      prompt_tokens_details: { cached_tokens: model.cached(prompt) },
    }, call.logprobs);
  }

  function head(call) {
    const id = `chatcmpl-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 10)}`;
    const object = call.stream ? "chat.completion.chunk" : "chat.completion";
    return { id, object, created: seconds(), model: call.model, system_fingerprint: fingerprint };
  }
}

function whole(response) {
  let [about, content, logprobs] = [null, "", []];
  return {
    begin: (head) => { about = head; },
    piece: (piece) => { content += piece.text; logprobs.push(...piece.logprobs); },
    end: (finish_reason, usage, wanted) => {
      const message = { role: "assistant", content };
      const choice = { index: 0, message, logprobs: wanted ? { content: logprobs } : null, finish_reason };
      send(response, 200, { ...about, choices: [choice], usage });
    },
  };
}

function streamed(call, response) {
  let about = null;
  const event = (data) => response.write(`data: ${JSON.stringify(data)}\n\n`);
  const chunk = (delta, finish_reason, logprobs) => event({
    ...about, choices: [{ index: 0, delta, logprobs: logprobs ? { content: logprobs } : null, finish_reason }],
  });
  return {
    begin: (head) => {
      about = head;
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
      chunk({ role: "assistant", content: "" }, null);
    },
    piece: (piece) => chunk({ content: piece.text }, null, call.logprobs ? piece.logprobs : null),
    end: (finish, usage) => {
      chunk({}, finish);
      if (call.includeUsage) event({ ...about, choices: [], usage });
      response.end("data: [DONE]\n\n");
    },
  };
}

/** One at a time; `capacity` may wait, more are refused at once. Who hangs up while waiting is passed over. */
function queue(capacity) {
  let [last, waiting] = [Promise.resolve(), 0];
  return (signal, work) => {
    if (waiting > capacity) {
      const message = `${capacity} calls are waiting already; try again later`;
      throw new Refusal(429, message, { code: "queue_full", retryAfter: 1 });
    }
    waiting += 1;
    const turn = last.then(() => (signal.aborted ? undefined : work())).finally(() => { waiting -= 1; });
    last = turn.catch(() => {});
    return turn;
  };
}

function allow(request, method) {
  if (request.method !== method) throw new Refusal(405, `this path takes ${method}`);
}

async function text(request) {
  const [chunks, decoder] = [[], new TextDecoder("utf-8", { fatal: true })];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_LIMIT_BYTES) throw new Refusal(413, `the body has more than ${BODY_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return decoder.decode(Buffer.concat(chunks));
  } catch {
    throw new Refusal(400, "the body is not UTF-8");
  }
}

function fail(response, error) {
  const failed = "the model failed; see the server's standard error";
  const refusal = error instanceof Refusal ? error : new Refusal(500, failed);
  if (error !== refusal) console.error(error);
  if (response.destroyed) return;
  if (response.headersSent) {
    response.end(`data: ${JSON.stringify(refusal.body())}\n\n`);
    return;
  }
  if (refusal.retryAfter !== null) response.setHeader("retry-after", String(refusal.retryAfter));
  if (refusal.status === 413) response.setHeader("connection", "close");
  send(response, refusal.status, refusal.body());
}

function send(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function seconds() {
  return Math.floor(Date.now() / 1000);
}
