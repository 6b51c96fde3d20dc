#!/usr/bin/env python3
"""Collects and judges replayed answers of MMLU-Pro under faults and kills, and compares with the source.

2,000 prompts x 5 tiers through `tiercast replay`; 5 % of the calls go wrong (five kinds, 1 % each);
`collect` is killed with SIGKILL at three random moments and started again. Then the outcome file must
have the source's text and tokens for every pair, and its score but for the pairs that are listed.

    python3 evals/collect/faults.py --data ../shared/data/mmlu_pro.parquet

Needs pyarrow 25.0.0 (any recent one does) and a release build.
"""
import argparse
import collections
import json
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TIERS = ["gemini-1.5-pro-002", "Meta-Llama-3.1-70B-Instruct", "gemini-1.5-flash-002", "Meta-Llama-3.1-8B-Instruct", "mathstral-7B"]
FAULTS = ["rate_limit", "retry_after", "server_error", "cut_stream", "malformed_json"]
PORT = 9126


def config(folder):
    lines = []
    for tier in TIERS:
        lines += [f'[tiers."{tier}"]', "class = 2", "input_usd_per_mtok = 1.0", "output_usd_per_mtok = 2.0"]
        lines += [f'[tiers."{tier}".endpoint]', f'base_url = "http://127.0.0.1:{PORT}/v1"', "concurrency = 32", "timeout_s = 10", "max_retries = 8"]
    lines += ["[judge]", 'default = "letter"', "[judge.judges.letter]", 'kind = "exact_match"', 'extract = "choice"', 'statement = "first"']
    path = os.path.join(folder, "tiercast.toml")
    with open(path, "w") as file:
        file.write("\n".join(lines))
    return path


def sample(data, folder, n_prompts):
    table = pq.read_table(data)
    table = table.filter(pc.is_in(table["model"], pa.array(TIERS)))
    table = table.filter(pc.is_valid(table["response"]))
    # Those that every tier answered: a prompt without a recorded reply is the replay's 404.
    counts = collections.Counter(table["prompt_id"].to_pylist())
    # Of a prompt with two reference answers `collect` says that they contradict each other.
    references = collections.defaultdict(set)
    for id, reference in zip(table["prompt_id"].to_pylist(), table["reference"].to_pylist()):
        references[id].add(reference)
    ids = sorted(id for id, n in counts.items() if n == len(TIERS) and len(references[id]) == 1)
    random.Random(0).shuffle(ids)
    table = table.filter(pc.is_in(table["prompt_id"], pa.array(ids[:n_prompts])))
    path = os.path.join(folder, "source.parquet")
    pq.write_table(table, path)
    return path, table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--program", default="target/release/tiercast")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        source, table = sample(arguments.data, folder, arguments.prompts)
        toml, out = config(folder), os.path.join(folder, "run")
        replay = [arguments.program, "replay", "--outcomes", source, "--instant", "--listen", f"127.0.0.1:{PORT}"]
        for fault in FAULTS:
            replay += ["--fault", f"{fault}=0.01"]
        server = subprocess.Popen(replay, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", PORT)):
                time.sleep(0.1)
            collect = [arguments.program, "collect", "--prompts", source, "--config", toml, "--out", out]
            started, kills, restarts = time.time(), 0, 0
            while True:
                run = subprocess.Popen(collect, stdout=subprocess.DEVNULL, stderr=open(os.path.join(folder, "collect.log"), "w"))
                try:
                    run.wait(chance.uniform(0.5, 3.0) if kills < arguments.kills else None)
                except subprocess.TimeoutExpired:
                    run.send_signal(signal.SIGKILL)
                    run.wait()
                    kills += 1
                    continue
                if run.returncode == 0:
                    break
                said = open(os.path.join(folder, "collect.log")).read()
                print("collect ended with", run.returncode, "- started again:", said[-1500:])
                restarts += 1
                if restarts > 20:
                    raise SystemExit("it does not come to an end")
            seconds = time.time() - started
            stats = json.load(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/replay/stats"))
        finally:
            server.terminate()
            server.wait()
        subprocess.run([arguments.program, "judge", "--run", out, "--config", toml], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        status = subprocess.run([arguments.program, "collect", "status", "--out", out, "--json"], check=True, capture_output=True, text=True).stdout
        made = pq.read_table(os.path.join(out, "outcomes.parquet"))
    compare(table, made)
    n_pairs = table.num_rows
    print(f"{n_pairs} pairs in {seconds:.0f} s with {kills} kills; calls by the replay's count: {json.dumps({name: stats[name] for name in ('calls', 'faults')})}")
    print("collect counts", json.loads(status)["n_extra_requests"], "requests beyond the minimum")


def compare(source, made):
    columns = ["prompt_id", "model", "response", "input_tokens", "output_tokens", "score"]
    by_pair = lambda table: {(row["prompt_id"], row["model"]): row for row in table.select(columns).to_pylist()}
    source, made = by_pair(source), by_pair(made)
    print(f"pairs: source {len(source)}, made {len(made)}, missing {len(source.keys() - made.keys())}, extra {len(made.keys() - source.keys())}")
    for column in columns[2:]:
        wrong = [key for key in source if key in made and source[key][column] != made[key][column]]
        print(f"{column}: {len(wrong)} of {len(source)} differ ({100 * len(wrong) / len(source):.2f} %)")
    stated = re.compile(r"answer is\W{0,12}[A-J]\b", re.IGNORECASE)
    causes = collections.Counter()
    for key, row in source.items():
        if key in made and row["score"] != made[key]["score"]:
            says = "an answer is stated" if stated.search(row["response"]) else "no answer is stated"
            causes[says, "the source counts it as right" if row["score"] > made[key]["score"] else "and ours does"] += 1
    for cause, n in causes.most_common():
        print(n, "scores differ:", ", ".join(cause))


if __name__ == "__main__":
    main()
