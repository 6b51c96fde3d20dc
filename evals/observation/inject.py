"""Drift injected into replayed traffic, through the real server: when is it told, and is calm left alone?

    python -m venv venv && venv/bin/pip install -r evals/observation/requirements.txt
    cargo build --release
    venv/bin/python evals/observation/inject.py > RESULTS.md

`tiercast replay` answers with the recorded replies of MMLU-Pro's validation prompts, `tiercast serve` routes `auto` over
the reference checkpoint's five tiers at their prices, and a share of the answers is rated with the recorded score of the
(prompt, tier) that answered. Every request is of a session of its own; prompts are drawn with replacement.

After `--calm` requests one thing changes:

  tasks     a third of the traffic is of two subjects that never came before (law, engineering)
  worse     the tier that answers most got worse by 10 points: that many of its right replies are replaced, in the file
            that `replay` serves, by its replies to other questions, and score 0
  price     the tier that answers most costs a quarter more per output token, by a reload of the settings
  nothing   calm goes on: every finding is a false alarm

`GET /v1/stats` is read after every 100 requests; the delay is the number of requests since the change, to that step.
"""

import argparse
import collections
import http.client
import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

ROOT = Path(__file__).resolve().parents[2]
NEW_TASKS = ("law", "engineering")
STEP = 100
WORSE_BY = 0.10


def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(address, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{address}{path}", timeout=30) as reply:
        return json.loads(reply.read())


def wait_for(address, path):
    for _ in range(600):
        try:
            return get(address, path)
        except (OSError, ValueError):
            time.sleep(0.1)
    raise SystemExit(f"nothing answers at {path}")


class Gateway:
    """Replay and server of one run."""

    def __init__(self, options, folder, tiers, journal=""):
        self.options, self.folder, self.tiers, self.journal = options, folder, tiers, journal
        self.replay_port, self.port = port(), port()
        self.processes = {}

    def replay(self, table):
        """Serves the table's replies, in the place of those that were served so far."""
        self.end("replay")
        outcomes = self.folder / "outcomes.parquet"
        parquet.write_table(table, outcomes)
        address = f"127.0.0.1:{self.replay_port}"
        self.start("replay", ["replay", "--outcomes", outcomes, "--listen", address, "--instant"])
        wait_for(self.replay_port, "/replay/stats")

    def configure(self, factors):
        """Writes the settings, output prices times a factor by tier."""
        tables = [f'[journal]\nfolder = "{self.folder}/journal"\n{self.journal}']
        for name, tier in self.tiers.items():
            price = tier["output_usd_per_mtok"] * factors.get(name, 1.0)
            tables.append(
                f'[tiers."{name}"]\nclass = {tier["class"]}\ninput_usd_per_mtok = {tier["input_usd_per_mtok"]}\n'
                f"output_usd_per_mtok = {price}\n"
                f'[tiers."{name}".endpoint]\nbase_url = "http://127.0.0.1:{self.replay_port}/v1"\n'
            )
        new = self.folder / "new.toml"
        new.write_text("\n".join(tables))
        new.rename(self.folder / "tiercast.toml")

    def serve(self):
        checkpoint, config = self.options.checkpoint, self.folder / "tiercast.toml"
        command = ["serve", "--checkpoint", checkpoint, "--config", config, "--listen", f"127.0.0.1:{self.port}"]
        self.start("serve", command)
        wait_for(self.port, "/ready")

    def start(self, name, arguments):
        command = [self.options.tiercast, *arguments]
        self.processes[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self, name):
        if name in self.processes:
            process = self.processes.pop(name)
            process.terminate()
            process.wait()

    def findings(self):
        time.sleep(0.3)
        return get(self.port, "/v1/stats")["findings"]


class Traffic:
    """Draws prompts, asks, rates."""

    def __init__(self, options, gateway, rows, seed):
        self.gateway, self.rated = gateway, options.rated
        self.random = random.Random(seed)
        self.scores = {(row["prompt"], row["model"]): row["score"] for row in rows}
        by_task = collections.defaultdict(set)
        for row in rows:
            by_task[row["subset"] in NEW_TASKS].add(row["prompt"])
        self.usual, self.new = (sorted(by_task[is_new]) for is_new in (False, True))
        self.share_new = 0.0
        self.answered = collections.Counter()
        self.n = 0
        self.lock = threading.Lock()

    def send(self, n):
        work = []
        for _ in range(n):
            prompts = self.new if self.random.random() < self.share_new else self.usual
            work.append((self.n, self.random.choice(prompts), self.random.random() < self.rated))
            self.n += 1
        threads = [threading.Thread(target=self.ask_all, args=(work[part::4],)) for part in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]

    def ask_all(self, work):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
        for number, prompt, is_rated in work:
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
            headers = {"content-type": "application/json", "x-session-id": f"s{number}"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
            if reply.status != 200:
                raise SystemExit(f"{reply.status}: {text[:300]}")
            tier = reply.headers["x-tiercast-tier"]
            with self.lock:
                self.answered[tier] += 1
            if is_rated:
                rating = {
                    "decision_id": reply.headers["x-tiercast-decision-id"],
                    "score": self.scores[prompt, tier],
                    "source": "recorded",
                }
                connection.request("POST", "/v1/feedback", json.dumps(rating), {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status >= 300:
                    raise SystemExit(f"feedback: {answer.status}")


def load(options):
    """Rows of the prompts that every tier of the checkpoint answered, and its tiers by name."""
    catalog = json.loads((options.checkpoint / "catalog.json").read_text())
    tiers = {tier["name"]: tier for tier in catalog}
    table = parquet.read_table(options.data / "mmlu_pro.parquet", filters=[("split", "==", "validation")])
    rows = [row for row in table.to_pylist() if row["model"] in tiers and row["response"]]
    full = collections.Counter(row["prompt"] for row in rows)
    rows = [row for row in rows if full[row["prompt"]] == len(tiers)]
    return rows, tiers


def worsened(rows, tier, seed):
    """The rows with `WORSE_BY` of the tier's mean score lost, and the scores that go with them."""
    chance = random.Random(seed)
    of_tier = [row for row in rows if row["model"] == tier]
    right = [row for row in of_tier if row["score"] == 1.0]
    lost = {id(row) for row in chance.sample(right, round(WORSE_BY * len(of_tier)))}
    others = [row["response"] for row in of_tier]
    change = lambda row: {**row, "response": chance.choice(others), "score": 0.0} if id(row) in lost else row
    return [change(row) for row in rows]


def run(options, kind, rows, tiers, seed):
    """What was found before the change, requests since it by what was found, and the tier that answers most."""
    with tempfile.TemporaryDirectory() as name:
        gateway = Gateway(options, Path(name), tiers)
        try:
            gateway.replay(pa.Table.from_pylist(rows))
            gateway.configure({})
            gateway.serve()
            traffic = Traffic(options, gateway, rows, seed)
            traffic.send(options.calm)
            before = [finding["says"] for finding in gateway.findings()]
            most_used = traffic.answered.most_common(1)[0][0]
            if kind == "tasks":
                traffic.share_new = 1 / 3
            elif kind == "worse":
                changed = worsened(rows, most_used, seed)
                gateway.replay(pa.Table.from_pylist(changed))
                traffic.scores = {(row["prompt"], row["model"]): row["score"] for row in changed}
            elif kind == "price":
                gateway.configure({most_used: 1.25})
                time.sleep(3.0)
            found = {}
            for step in range(1, options.after // STEP + 1):
                traffic.send(STEP)
                for finding in gateway.findings():
                    what = (finding["kind"], finding["what"])
                    if finding["says"] not in before:
                        found.setdefault(what, step * STEP)
                if kind != "nothing" and any(is_wanted(kind, what, most_used) for what in found):
                    break
            return before, found, most_used
        finally:
            for process in list(gateway.processes):
                gateway.end(process)


def is_wanted(kind, what, tier):
    wanted = {"tasks": "inputs", "worse": "outcomes", "price": "price"}[kind]
    return what[0] == wanted and (kind == "tasks" or tier in what[1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", type=Path, default=ROOT / "target/release/tiercast")
    arguments.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints/reference")
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    arguments.add_argument("--kinds", nargs="+", default=["tasks", "worse", "price", "nothing"])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--calm", type=int, default=4000, help="requests before the change")
    arguments.add_argument("--after", type=int, default=20_000, help="most requests after it")
    arguments.add_argument("--rated", type=float, default=0.2, help="share of the answers that are rated")
    options = arguments.parse_args()
    rows, tiers = load(options)
    print(f"{len(rows) // len(tiers)} prompts, {len(tiers)} tiers, {options.calm} calm requests, ", end="")
    print(f"{options.rated:.0%} rated, {os.cpu_count()} cores\n")
    print("| change | seed | tier changed | found before it | found, after so many requests |")
    print("| --- | ---: | --- | --- | --- |")
    for kind in options.kinds:
        for seed in range(options.seeds):
            before, found, tier = run(options, kind, rows, tiers, seed)
            words = "; ".join(f"{kind} of {what} {n}" for (kind, what), n in found.items()) or "nothing"
            changed = tier if kind in ("worse", "price") else ""
            print(f"| {kind} | {seed} | {changed} | {'; '.join(before) or 'nothing'} | {words} |", flush=True)


if __name__ == "__main__":
    main()
