"""Asks a running server every prompt at every tier and writes one JSON object a reply.

    python3 pipelines/local_model/local_model.py run -- \\
        python3 datasets/smoke/record.py --out target/smoke/replies.jsonl

A first look, without ledger or retries: the recording that counts is made by `tiercast collect`.
"""

import argparse
import json
import os
import time
import urllib.request
from pathlib import Path

PROMPTS = Path(__file__).resolve().parent / "prompts.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", default=os.environ.get("TIERCAST_LOCAL_BASE_URL", "http://127.0.0.1:9123/v1"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", help="separated by commas (default: all)")
    arguments = parser.parse_args()
    models = arguments.models.split(",") if arguments.models else [
        model["id"] for model in ask(f"{arguments.base_url}/models")["data"]
    ]
    prompts = [json.loads(line) for line in PROMPTS.read_text().splitlines()]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with open(arguments.out, "w") as file:
        for model in models:
            for prompt in prompts:
                print(json.dumps(reply(arguments.base_url, model, prompt), ensure_ascii=False), file=file, flush=True)
            print(f"{model}: {len(prompts)} replies, {time.monotonic() - start:.0f} s since the start", flush=True)


def reply(base_url: str, model: str, prompt: dict) -> dict:
    messages = prompt.get("messages") or [{"role": "user", "content": prompt["prompt"]}]
    asked = {key: prompt[key] for key in ("prompt", "messages") if key in prompt}
    start = time.monotonic()
    answer = ask(f"{base_url}/chat/completions", {"model": model, "temperature": 0, "seed": 1, "messages": messages})
    choice = answer["choices"][0]
    return {
        "model": model,
        **asked,
        "text": choice["message"]["content"],
        "finish_reason": choice["finish_reason"],
        "prompt_tokens": answer["usage"]["prompt_tokens"],
        "completion_tokens": answer["usage"]["completion_tokens"],
        "latency_s": round(time.monotonic() - start, 4),
    }


def ask(url: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=300) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
