// Opens the weights, listens on loopback, ends on Ctrl-C. `local_model.py` starts it.

import { parseArgs } from "node:util";

import { open } from "./model.mjs";
import { app } from "./server.mjs";

const { values } = parseArgs({
  options: {
    runtime: { type: "string" },
    weights: { type: "string" },
    port: { type: "string" },
    limits: { type: "string" },
    "context-tokens": { type: "string" },
    "queue-capacity": { type: "string" },
    threads: { type: "string" },
    fingerprint: { type: "string" },
  },
});
const number = (key) => Number(values[key]);
const limits = new Map(values.limits.split(",").map((limit) => [`smol-${limit}`, Number(limit)]));

const { runtime, weights } = values;
const model = await open({ runtime, weights, contextTokens: number("context-tokens"), threads: number("threads") });
const server = app({ model, limits, queueCapacity: number("queue-capacity"), fingerprint: values.fingerprint });
server.on("error", (error) => {
  console.error(`cannot listen on 127.0.0.1:${values.port}: ${error.message}`);
  process.exit(1);
});
server.listen(number("port"), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/v1 (${[...limits.keys()].join(", ")})`);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    // Calls under way are cut: there is nothing to save, and the caller's ledger asks again.
    server.close();
    server.closeAllConnections();
    process.exit(0);
  });
}
