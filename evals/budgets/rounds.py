"""Budget operations per second of both stores beside a floor of the same run; see README.md.

    cargo build --release -p tiercast-budgets --example throughput
    python3 evals/budgets/rounds.py --server redis=redis-server --server valkey=valkey-server --rounds 5

A round is a turn of every row, so that what else the machine does meets all alike; rounds alternate in their order.
Beside the clock's figures stands processor time per operation, which says as much on a busy machine as on a quiet one.
Needs Linux, Python, the servers, and `redis-benchmark`.
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
# As long as the example takes for a row.
EXAMPLE_S = 5.0


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
                    found[f"{name}: EVAL 'return 1'", n_tasks] = evals(options.benchmark, port, n_tasks, process.pid)
                lines = run(options.example, folder, f"redis://127.0.0.1:{port}", process.pid)
            finally:
                process.terminate()
                process.wait()
        for line in lines:
            is_remote = line["store"] == "valkey"
            row = (name if is_remote else line["store"], line["tasks"])
            figure = (line["pairs_per_s"], line["reserve_p50_ms"], line["reserve_p99_ms"], line["own_us"], line["server_us"])
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


def run(example, folder, url, server_pid):
    """What the example tells, and microseconds of processor time per operation: its own and the server's."""
    example = subprocess.Popen([example, folder, url], stdout=subprocess.PIPE, text=True)
    lines, own, server = [], 0.0, cpu_s(server_pid)
    for text in example.stdout:
        line = json.loads(text)
        n_operations = 2 * line["pairs_per_s"] * EXAMPLE_S
        # What has ended can still be asked, for it is not waited for yet.
        own_now, server_now = cpu_s(example.pid), cpu_s(server_pid)
        line["own_us"] = (own_now - own) / n_operations * 1e6
        line["server_us"] = (server_now - server) / n_operations * 1e6
        own, server = own_now, server_now
        lines.append(line)
    assert example.wait() == 0
    return lines


def cpu_s(pid):
    """Processor time of a process, seconds, in hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def evals(benchmark, port, n_clients, server_pid):
    """Trivial scripts per second, and the server's microseconds for one: the floor under the store's scripts."""
    n_scripts = 20_000 if n_clients == 1 else 40_000
    command = [benchmark, "-p", str(port), "-c", str(n_clients), "-n", str(n_scripts), "--csv", "EVAL", "return 1", "0"]
    before = cpu_s(server_pid)
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    per_s = float(told.splitlines()[-1].split(",")[1].strip('"'))
    return per_s, (cpu_s(server_pid) - before) / n_scripts * 1e6


def commits(file):
    """Commits per second of one changed row, with the pragmas of the store, and microseconds for one."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE purse (name TEXT PRIMARY KEY, spent INTEGER) WITHOUT ROWID")
    connection.execute("INSERT INTO purse VALUES ('a', 0)")
    n_commits, began, busy = 0, time.monotonic(), time.process_time()
    while time.monotonic() - began < FLOOR_S:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE purse SET spent = spent + 1 WHERE name = 'a'")
        connection.execute("COMMIT")
        n_commits += 1
    took, busy = time.monotonic() - began, time.process_time() - busy
    connection.close()
    return n_commits / took, busy / n_commits * 1e6


def page(figures, servers, loads):
    spread = lambda values, digits=0: f"{median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
    clock = [
        "| store | tasks at once | pairs a second | reserve p50, ms | reserve p99, ms | floor a second | operations per floor |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    busy = [
        "| store | tasks at once | us per operation, own process | us, server | floor, us | operations to a floor |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for store in ["sqlite in memory", "sqlite file", *servers]:
        for n_tasks in TASKS:
            pairs, p50, p99, own, server = zip(*figures[store, n_tasks])
            is_sqlite = store.startswith("sqlite")
            floor, floor_us = zip(*figures[("commits, one row each", 1) if is_sqlite else (f"{store}: EVAL 'return 1'", n_tasks)])
            # A pair is two operations: a reservation and a settlement.
            ratios = [2 * ours / theirs for ours, theirs in zip(pairs, floor)]
            mine = own if is_sqlite else server
            times = [ours / theirs for ours, theirs in zip(mine, floor_us)]
            clock.append(
                f"| {store} | {n_tasks} | {spread(pairs)} | {spread(p50, 3)} | {spread(p99, 2)} | {spread(floor)} | {spread(ratios, 2)} |"
            )
            busy.append(
                f"| {store} | {n_tasks} | {spread(own)} | {'' if is_sqlite else spread(server)} | {spread(floor_us)} | {spread(times, 1)} |"
            )
    loads = f"Load average after each round: {', '.join(f'{load:.1f}' for load in loads)}."
    return "\n".join([*clock, "", *busy, "", loads])


if __name__ == "__main__":
    sys.exit(main())
