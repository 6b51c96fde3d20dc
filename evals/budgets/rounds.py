"""Budget operations per second of both stores beside a floor of the same run; see README.md.

    cargo build --release -p tiercast-budgets --example throughput
    python3 evals/budgets/rounds.py --server redis=redis-server --server valkey=valkey-server --rounds 5

A round is a turn of every row, so that what else the machine does meets all alike; rounds alternate in their order.
Needs nothing but Python, the servers, and `redis-benchmark`.
"""

import argparse
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
TASKS = (1, 8, 64)
FLOOR_S = 3.0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--example", default=ROOT / "target/release/examples/throughput")
    arguments.add_argument("--server", action="append", default=[], metavar="NAME=PROGRAM")
    arguments.add_argument("--benchmark", default="redis-benchmark")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    servers = dict(named.split("=", 1) for named in options.server)
    figures, loads = {}, []
    for number in range(options.rounds):
        names = list(servers) if number % 2 == 0 else list(reversed(servers))
        for row, figure in one_round(options, {name: servers[name] for name in names}).items():
            figures.setdefault(row, []).append(figure)
        loads.append(os.getloadavg()[0])
        print(f"round {number + 1} of {options.rounds}, load {loads[-1]:.1f}", file=sys.stderr)
    print(page(figures, servers, loads))


def one_round(options, servers):
    """Row -> figure; a row is (what, tasks at once)."""
    found, of_sqlite = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        found["commits, one row each", 1] = commits(Path(folder) / "floor.sqlite")
    for name, program in servers.items():
        with tempfile.TemporaryDirectory() as folder:
            process, port = start(program, folder)
            try:
                for n_tasks in TASKS:
                    found[f"{name}: EVAL 'return 1'", n_tasks] = evals(options.benchmark, port, n_tasks)
                lines = run(options.example, folder, f"redis://127.0.0.1:{port}")
            finally:
                process.terminate()
                process.wait()
        for line in lines:
            is_remote = line["store"] == "valkey"
            row = (name if is_remote else line["store"], line["tasks"])
            figure = (line["pairs_per_s"], line["reserve_p50_ms"], line["reserve_p99_ms"])
            if is_remote:
                found[row] = figure
            else:
                of_sqlite.setdefault(row, []).append(figure)
    # The example measures SQLite once beside each server.
    found.update({row: tuple(map(median, zip(*of))) for row, of in of_sqlite.items()})
    return found


def start(program, folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise SystemExit(f"{program} does not listen")


def run(example, folder, url):
    told = subprocess.run([example, folder, url], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in told.splitlines()]


def evals(benchmark, port, n_clients):
    """Trivial scripts per second: the floor under the store's scripts."""
    command = [benchmark, "-p", str(port), "-c", str(n_clients), "-n", str(20_000 * (1 + (n_clients > 1))), "--csv", "EVAL", "return 1", "0"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(told.splitlines()[-1].split(",")[1].strip('"'))


def commits(file):
    """Commits per second of one changed row, with the pragmas of the store."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE purse (name TEXT PRIMARY KEY, spent INTEGER) WITHOUT ROWID")
    connection.execute("INSERT INTO purse VALUES ('a', 0)")
    n_commits, began = 0, time.monotonic()
    while time.monotonic() - began < FLOOR_S:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE purse SET spent = spent + 1 WHERE name = 'a'")
        connection.execute("COMMIT")
        n_commits += 1
    took = time.monotonic() - began
    connection.close()
    return n_commits / took


def page(figures, servers, loads):
    lines = [
        "| store | tasks at once | pairs a second | reserve p50, ms | reserve p99, ms | floor: commits or scripts a second | operations per floor |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    spread = lambda values, digits=0: f"{median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
    for store in ["sqlite in memory", "sqlite file", *servers]:
        for n_tasks in TASKS:
            pairs, p50, p99 = zip(*figures[store, n_tasks])
            is_sqlite = store.startswith("sqlite")
            floor = figures[("commits, one row each", 1) if is_sqlite else (f"{store}: EVAL 'return 1'", n_tasks)]
            # A pair is two operations: a reservation and a settlement.
            ratios = [2 * ours / theirs for ours, theirs in zip(pairs, floor)]
            lines.append(
                f"| {store} | {n_tasks} | {spread(pairs)} | {spread(p50, 3)} | {spread(p99, 2)} | {spread(floor)} | {spread(ratios, 2)} |"
            )
    lines.append(f"\nLoad average after each round: {', '.join(f'{load:.1f}' for load in loads)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
