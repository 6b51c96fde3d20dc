"""Chat through the gateway with the small local model: plain and streamed, three tiers on real weights.

    target/release/tiercast pipeline run pipelines/smoke.toml
    python3 pipelines/local_model/local_model.py run -- \
        python3 evals/gateway/real_model.py --tiercast target/release/tiercast

Serves the checkpoint of the smoke recipe, whose tiers these are, and compares what clients got with what
was accounted. Needs nothing but Python.
"""

import argparse
import json
import signal
import subprocess
import sys
import urllib.request

PROMPTS = ["What is 17 plus 4? Answer with the number.", "Name a colour.", "Finish: the cat sat on the"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", required=True)
    arguments.add_argument("--checkpoint", default="target/smoke/checkpoint")
    arguments.add_argument("--config", default="pipelines/local_model/tiercast.local.toml")
    options = arguments.parse_args()
    command = [options.tiercast, "serve", "--checkpoint", options.checkpoint, "--config", options.config]
    server = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().removeprefix("listening on ").strip()
        check(url)
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=60)
    assert code == 0, f"the server ended with {code}"


def check(url):
    n_input = n_output = 0
    for prompt in PROMPTS:
        for model in ["auto", "auto:best", "smol-8"]:
            messages = [{"role": "user", "content": prompt}]
            body = {"model": model, "messages": messages, "temperature": 0, "seed": 1}
            with post(url, body) as answer:
                tier, reply = answer.headers["x-tiercast-tier"], json.load(answer)
            text, usage = reply["choices"][0]["message"]["content"], reply["usage"]
            with post(url, {**body, "stream": True}) as answer:
                chunks = [line[6:] for line in answer.read().decode().splitlines() if line.startswith("data: ")]
            assert chunks.pop() == "[DONE]", chunks
            chunks = [json.loads(chunk) for chunk in chunks]
            assert all(chunk["choices"] for chunk in chunks), "usage that nobody asked for"
            streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
            assert text and streamed == text, (text, streamed)
            print(f"{model} -> {tier}: {usage['completion_tokens']} tokens, plain and streamed alike")
            n_input, n_output = n_input + 2 * usage["prompt_tokens"], n_output + 2 * usage["completion_tokens"]
    with urllib.request.urlopen(f"{url}/v1/stats") as answer:
        accounts = json.load(answer)["accounts"].values()
    sums = [sum(account[name] for account in accounts) for name in ("input_tokens", "output_tokens", "estimated")]
    assert sums == [n_input, n_output, 0], (sums, n_input, n_output)
    print(f"accounted: {n_input} tokens in, {n_output} out, as told to the clients")


def post(url, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", data, {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=120)


if __name__ == "__main__":
    sys.exit(main())
