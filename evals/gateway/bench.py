"""What a gateway costs: requests per second and latency of tiercast, Switchyard and LiteLLM before one upstream.

    apt-get install wrk nginx-light
    python -m venv VENV && VENV/bin/pip install --only-binary :all: -r evals/gateway/requirements.txt
    cargo build --release
    VENV/bin/python evals/gateway/bench.py > RESULTS.md
    VENV/bin/python evals/gateway/bench.py --streams 1000 >> RESULTS.md

All programs are up during the whole run and take turns under the same wrk; medians over rounds are
printed. A program that is not installed is left out, by name. Nothing but loopback is asked.

The upstream is nginx with one fixed reply: the floor, since it takes the least of the two cores that all
share. `tiercast replay` parses and hashes each request, which would be counted against every gateway. With
`--streams` it is a slow drip made here: a chunk a second to each stream.
"""

import argparse
import asyncio
import importlib.util
import json
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "How does a bicycle stay upright?"}]}
# Slowest first start: LiteLLM, whose imports alone take ten seconds on a busy machine.
START_S = 120


@dataclass
class Program:
    """One process and where it listens."""

    name: str
    command: list
    port: int
    environment: dict
    process: subprocess.Popen = None

    def rss_mb(self):
        """Resident memory of the process and its children, MiB."""
        return sum(rss_kb(pid) for pid in family(self.process.pid)) / 1024


@dataclass
class Subject:
    """A row of the table: a path of a program."""

    name: str
    program: Program
    path: str = "/v1/chat/completions"
    shape: str = "chat"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.program.port}{self.path}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", type=Path, default=ROOT / "target/release/tiercast")
    arguments.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints/reference")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=5, help="of one turn")
    arguments.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    arguments.add_argument("--only", nargs="+", default=["tiercast", "switchyard", "litellm"], metavar="PROGRAM")
    arguments.add_argument("--streams", type=int, help="measure memory with so many open streams instead")
    options = arguments.parse_args()
    # A stream takes two files of a gateway.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.streams:
            streams_table(options, folder, stack)
        else:
            load_table(options, folder, stack)


def load_table(options, folder, stack):
    for tool in ["wrk", "nginx"]:
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed: apt-get install wrk nginx-light")
    upstream_port = free_port()
    config = filled("nginx.conf", folder, FOLDER=folder, UPSTREAM=upstream_port)
    upstream = Program("nginx", ["nginx", "-c", config, "-p", folder], upstream_port, {})
    programs = {program.name: program for program in gateways(options, folder, upstream_port)}
    for program in [upstream, *programs.values()]:
        start(program, folder, stack)
    subjects = [Subject("upstream alone", upstream), *rows(programs)]
    for subject in subjects:
        check(subject)
        turn(subject, 8, 2)
    idle = {name: program.rss_mb() for name, program in programs.items()}
    heading()
    for connections in options.connections:
        turns = {subject.name: [] for subject in subjects}
        for _ in range(options.rounds):
            for subject in subjects:
                turns[subject.name].append(turn(subject, connections, options.seconds))
        table(connections, subjects, turns, options)
    print("\n| resident memory, MiB | warm | after the run |\n| --- | ---: | ---: |")
    for name, program in programs.items():
        print(f"| {name} | {idle[name]:.0f} | {program.rss_mb():.0f} |")
    print(f"\nLoad {os.getloadavg()[0]:.1f} after the run.")


def gateways(options, folder, upstream_port):
    """Those of the three that are here and wanted."""
    for name in options.only:
        port = free_port()
        config = {"tiercast": "tiercast.toml", "switchyard": "switchyard.toml", "litellm": "litellm.yaml"}[name]
        config = filled(config, folder, LISTEN=port, UPSTREAM=upstream_port)
        if name == "tiercast" and options.tiercast.exists():
            yield Program(name, [options.tiercast, "serve", "--checkpoint", options.checkpoint, "--config", config], port, {})
        elif name == "switchyard" and importlib.util.find_spec("switchyard_rust"):
            # It writes two lines a request unless told not to.
            yield Program(name, [sys.executable, HERE / "host_switchyard.py", config, port], port, {"RUST_LOG": "error"})
        elif name == "litellm" and importlib.util.find_spec("litellm"):
            # Its prices come from the network otherwise, and it opens no more than 500 connections to a host.
            limits = {"AIOHTTP_CONNECTOR_LIMIT": "5000", "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "5000"}
            environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", **limits}
            program = Path(sys.executable).parent / "litellm"
            address = ["--host", "127.0.0.1", "--port", port, "--telemetry", "False"]
            yield Program(name, [program, "--config", config, "--num_workers", 1, *address], port, environment)
        else:
            wanted = options.tiercast if name == "tiercast" else "its package, see requirements.txt"
            print(f"{name} is left out: {wanted} is not here", file=sys.stderr)


def rows(programs):
    if "tiercast" in programs:
        yield Subject("tiercast, chat", programs["tiercast"])
        yield Subject("tiercast, `/v1/route`", programs["tiercast"], "/v1/route")
    if "switchyard" in programs:
        yield Subject("Switchyard `stage_router`, chat", programs["switchyard"])
        yield Subject("Switchyard, `/v1/decision`", programs["switchyard"], "/v1/decision", "decision")
    if "litellm" in programs:
        yield Subject("LiteLLM `complexity_router`, chat", programs["litellm"])


def filled(name, folder, **values):
    """A configuration of this folder with its capitals filled in."""
    text = (HERE / name).read_text()
    for key, value in values.items():
        text = text.replace(key, str(value))
    (folder / name).write_text(text)
    return folder / name


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(program, folder, stack):
    log = folder / f"{program.name}.log"
    command = list(map(str, program.command))
    environment = {**os.environ, **program.environment}
    with log.open("w") as out:
        program.process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=folder)
    stack.callback(end, program.process)
    until = time.monotonic() + START_S
    while time.monotonic() < until and program.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", program.port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{program.name} did not start:\n{log.read_text()[-2000:]}")


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def check(subject):
    """One call by hand. An answer that is no chat, or names no model, would make a fine figure."""
    body = {"input_format": "openai_chat", "request": CHAT} if subject.shape == "decision" else CHAT
    request = urllib.request.Request(subject.url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            said = response.read().decode()
    except urllib.error.HTTPError as error:
        sys.exit(f"{subject.name}: {error.code} {error.read().decode()[:1000]}")
    expected = "steers into the fall" if subject.path.endswith("completions") else "small"
    if expected not in said:
        sys.exit(f"{subject.name} answered without `{expected}`: {said[:1000]}")


def turn(subject, connections, seconds):
    """Requests/s, p50 ms, p99 ms, errors."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", HERE / "post.lua", subject.url]
    said = subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, env={**os.environ, "SHAPE": subject.shape}
    ).stdout
    (line,) = [line for line in said.splitlines() if line.startswith("RESULT ")]
    return [float(number) for number in line.split()[1:]]


def heading():
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()[1]
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.split("/")[-1].strip()
    print(f"{machine()}; wrk {wrk}, nginx {nginx}{peer_versions()}. Load {os.getloadavg()[0]:.1f} before the run.")


def machine():
    model = next((line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return f"{time.strftime('%F', time.gmtime())}, commit {commit or 'none'}, {os.cpu_count()} cores, {model.strip()}"


def peer_versions():
    found = [name for name, module in [("nemo-switchyard", "switchyard_rust"), ("litellm", "litellm")] if importlib.util.find_spec(module)]
    return "".join(f", {name} {version(name)}" for name in found)


def table(connections, subjects, turns, options):
    median = lambda name, column: statistics.median(row[column] for row in turns[name])
    floor = subjects[0].name
    print(f"\n| {connections} connections, {options.rounds} rounds of {options.seconds} s | requests/s | p50 ms | p99 ms | p50 over the upstream's | errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in turns:
        rate, p50, p99 = (median(name, column) for column in range(3))
        # Of the same round: what else the machine does then troubles both.
        over = statistics.median(row[1] - base[1] for row, base in zip(turns[name], turns[floor]))
        over = "" if name == floor else f"{over:.3f}"
        n_errors = sum(row[3] for row in turns[name])
        print(f"| {name} | {rate:.0f} | {p50:.3f} | {p99:.2f} | {over} | {n_errors:.0f} |", flush=True)


def rss_kb(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def family(pid):
    try:
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except FileNotFoundError:
        return [pid]
    return [pid, *(member for child in children for member in family(child))]


def streams_table(options, folder, stack):
    """Resident memory with many open streams, each of which has had its first chunk and gets one a second."""
    port = free_port()
    upstream = multiprocessing.Process(target=drip, args=(port,), daemon=True)
    upstream.start()
    stack.callback(upstream.terminate)
    print(f"{machine()}{peer_versions()}. A chunk a second to each stream.\n")
    print(f"| resident memory, MiB | idle | {options.streams} streams open | ended | opened of {options.streams} | all open after s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for program in gateways(options, folder, port):
        start(program, folder, stack)
        # A first call makes what every later one shares.
        asyncio.run(open_streams(program.port, 1, lambda: 0))
        idle = program.rss_mb()
        opened, took, during = asyncio.run(open_streams(program.port, options.streams, program.rss_mb))
        time.sleep(2)
        print(f"| {program.name} | {idle:.1f} | {during:.1f} | {program.rss_mb():.1f} | {opened} | {took:.1f} |", flush=True)
        end(program.process)


async def open_streams(port, n_streams, measure):
    """How many streams opened, after how long, and what was measured while they were all open."""
    began = time.monotonic()
    streams = await asyncio.gather(*(open_stream(port) for _ in range(n_streams)))
    took = time.monotonic() - began
    writers = [writer for writer, is_open in streams if is_open]
    # Long enough that every stream carries a few chunks more.
    await asyncio.sleep(4 if n_streams > 1 else 0)
    measured = measure()
    for writer, _ in streams:
        if writer:
            writer.transport.abort()
    return len(writers), took, measured


async def open_stream(port, within_s=60):
    """A writer, and whether a chunk with text came."""
    body = json.dumps({**CHAT, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        async with asyncio.timeout(within_s):
            return writer, b"drip" in await reader.readuntil(b"drip")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        return None, False


def drip(port):
    """An upstream that sends a chunk a second, to each until it leaves."""

    def chunk(delta):
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        event = {"id": "drip-1", "object": "chat.completion.chunk", "created": 0, "model": "small", "choices": [choice]}
        data = f"data: {json.dumps(event)}\n\n".encode()
        return b"%x\r\n%s\r\n" % (len(data), data)

    async def answer(reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(chunk({"role": "assistant", "content": ""}))
            while not reader.at_eof():
                writer.write(chunk({"content": "drip "}))
                await writer.drain()
                await asyncio.sleep(1)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def serve():
        server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=4096)
        async with server:
            await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
