"""Mixed load at three times the gateway's capacity, with faults behind it: is any answer wrong, is any call
lost from the accounts, does memory grow?

    cargo build --release
    python3 evals/gateway/load.py --seconds 600

`tiercast replay` serves `datasets/smoke` as the upstream of three tiers and fails 2 % of the calls in each of
six ways; `tiercast serve` may have 32 requests under way, and 96 clients ask without a pause: chat,
responses and messages, plain and streamed; one stream in fifty is left in the middle. Every whole answer is
compared with what is recorded for the tier that the gateway says it came from; at the end what the gateway
settled is compared with what the replay itself counted. Needs nothing but Python.
"""

import argparse
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ROOT / "datasets/smoke/outcomes.parquet"
# Prices in US dollars per million tokens, in and out alike, so that tokens can be told from the cost.
TIERS = {"smol-8": 1.0, "smol-24": 3.0, "smol-64": 8.0}
FAULTS = ["server_error", "rate_limit", "cut_stream", "malformed_json", "html", "slow_drip"]
CAPACITY = 32


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", default=ROOT / "target/release/tiercast")
    arguments.add_argument("--checkpoint", default=ROOT / "target/smoke/checkpoint")
    arguments.add_argument("--seconds", type=int, default=600)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        replay = Server([options.tiercast, "replay", "--outcomes", OUTCOMES, "--instant"])
        config = Path(folder) / "tiercast.toml"
        config.write_text(settings(replay.port))
        gateway = Server([options.tiercast, "serve", "--checkpoint", options.checkpoint, "--config", config])
        try:
            run(replay, gateway, options.seconds)
        finally:
            codes = [server.end() for server in (gateway, replay)]
    assert codes == [0, 0], codes


def settings(port):
    tiers = (
        f"[tiers.{name}]\ninput_usd_per_mtok = {price}\noutput_usd_per_mtok = {price}\n"
        f'[tiers.{name}.endpoint]\nbase_url = "http://127.0.0.1:{port}/v1"\nbreaker_failures = 100000\n'
        for name, price in TIERS.items()
    )
    return f"max_concurrency = {CAPACITY}\nqueue_capacity = {CAPACITY}\n" + "".join(tiers)


class Server:
    def __init__(self, command):
        command = [*map(str, command), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def post(self, path, body, connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        return connection.getresponse().read()

    def rss_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)


def run(replay, gateway, seconds):
    prompts = [json.loads(line) for line in (ROOT / "datasets/smoke/prompts.jsonl").open()]
    prompts = [prompt["prompt"] for prompt in prompts if "prompt" in prompt]
    recorded = {}
    for prompt in prompts:
        for tier in TIERS:
            answer = json.load(replay.post("/v1/chat/completions", chat(tier, prompt)))
            recorded[prompt, tier] = answer["choices"][0]["message"]["content"]
    before = json.loads(replay.get("/replay/stats"))["models"]
    replay.post("/replay/faults", {"seed": 1, "shares": {fault: 0.02 for fault in FAULTS}, "drip_s": 0.5}).read()
    counts, memory = Counter(), []
    end = time.monotonic() + seconds
    clients = [
        threading.Thread(target=client, args=(seed, gateway, prompts, recorded, end, counts)) for seed in range(3 * CAPACITY)
    ]
    for thread in clients:
        thread.start()
    while any(thread.is_alive() for thread in clients):
        memory.append(gateway.rss_mib())
        assert json.loads(gateway.get("/health"))["status"] == "ok"
        time.sleep(1)
    time.sleep(2)  # What clients left is settled when the upstream's next piece comes.
    report(counts, memory, before, json.loads(replay.get("/replay/stats"))["models"], json.loads(gateway.get("/v1/stats")))


def chat(model, prompt, **more):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


def client(seed, gateway, prompts, recorded, end, counts):
    chance = random.Random(seed)
    mine = Counter()
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
        prompt, is_streamed = chance.choice(prompts), chance.random() < 0.5
        dialect = chance.choice(["chat", "responses", "messages"])
        model = chance.choice(["auto", "auto:cheap", "auto:best", *TIERS])
        mine[one(gateway, connection, dialect, model, prompt, is_streamed, chance.random() < 0.02, recorded)] += 1
        connection.close()
    counts.update(mine)


def one(gateway, connection, dialect, model, prompt, is_streamed, leaves, recorded):
    """What became of one request."""
    path, body = {
        "chat": ("/v1/chat/completions", chat(model, prompt)),
        "responses": ("/v1/responses", {"model": model, "input": prompt}),
        "messages": ("/v1/messages", chat(model, prompt, max_tokens=64)),
    }[dialect]
    response = gateway.post(path, {**body, "stream": is_streamed}, connection)
    if response.status == 200 and is_streamed and leaves:
        response.read(20)
        return "left by the client"
    text = response.read().decode()
    if response.status != 200:
        return {429: "shed or rate-limited (429)", 502: "all tiers failed (502)"}.get(response.status, f"WRONG: {response.status} {text[:200]}")
    expected = recorded[prompt, response.headers["x-tiercast-tier"]]
    said, is_whole = (streamed if is_streamed else whole)(dialect, text)
    if not is_whole:
        return "broke off, and said so" if expected.startswith(said) else f"WRONG: {said[:100]!r} for {expected[:100]!r}"
    return "right" if said == expected else f"WRONG: {said[:100]!r} for {expected[:100]!r}"


def whole(dialect, text):
    body = json.loads(text)
    if dialect == "chat":
        return body["choices"][0]["message"]["content"], True
    pieces = body["content"] if dialect == "messages" else [piece for item in body["output"] for piece in item["content"]]
    return "".join(piece["text"] for piece in pieces), True


def streamed(dialect, text):
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
    events = [json.loads(event) for event in events]
    if dialect == "chat":
        said = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices", [])]
        return "".join(said), "data: [DONE]" in text
    if dialect == "messages":
        said = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
        return "".join(said), any(event["type"] == "message_stop" for event in events)
    said = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    return "".join(said), any(event["type"] in ("response.completed", "response.incomplete") for event in events)


def report(counts, memory, before, after, stats):
    n = sum(counts.values())
    print(f"| {n:,} requests | |\n| --- | ---: |")
    for what, count in counts.most_common():
        print(f"| {what} | {count:,} |")
    accounts = stats["accounts"]
    print("\n| tier | settled by the gateway, told tokens | counted by the replay | of estimates, US dollars |\n| --- | ---: | ---: | ---: |")
    lost = 0.0
    for tier, price in TIERS.items():
        count = lambda name: after[tier][name] - before[tier][name]
        told = (count("input_tokens") + count("output_tokens")) * price / 1e6
        account = accounts[tier]
        settled = account["cost_usd"] - account["estimated_cost_usd"]
        lost = max(lost, abs(settled - told))
        print(f"| {tier} | ${settled:.6f} | ${told:.6f} | {account['estimated_cost_usd']:.6f} ({account['estimated']} calls) |")
    third = max(1, len(memory) // 3)
    print(f"\nResident memory, MiB: {memory[0]:.0f} at the start, at most {max(memory[:third]):.0f} in the first third, {max(memory[-third:]):.0f} in the last.")
    assert not any(what.startswith("WRONG") for what in counts), "answers were wrong"
    assert lost < 1e-6, f"accounts differ by {lost} US dollars"


if __name__ == "__main__":
    sys.exit(main())
