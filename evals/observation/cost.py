"""What observation costs a gateway: requests per second and p99 with the journal and traces on, against off.

    apt-get install wrk nginx-light
    cargo build --release
    python evals/observation/cost.py > RESULTS.md

Three gateways of the same binary before one nginx with a fixed reply take turns under the same wrk: `off` (no
journal, no traces; metrics are always on), `journal` (features kept, the default), `all` (journal and traces to a
collector made here, which reads and throws away). The order changes from round to round; medians of the rounds'
ratios to `off` are printed.
"""

import argparse
import http.server
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPLY = (
    '{"id":"r","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"It steers into the fall."},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":140,"completion_tokens":6,"total_tokens":146}}'
)


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what comes."""

    protocol_version = "HTTP/1.1"
    n_bytes = 0

    def do_POST(self):
        Collector.n_bytes += len(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def nginx(folder):
    listens = port()
    (folder / "nginx.conf").write_text(
        f"""worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000;
server {{ listen 127.0.0.1:{listens}; location / {{ default_type application/json; return 200 '{REPLY}'; }} }} }}
"""
    )
    return subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL), listens


def gateway(arguments, folder, name, upstream, more):
    listens = port()
    config = folder / f"{name}.toml"
    config.write_text(
        f'{more}\n[tiers."m"]\nclass = 3\npredict_as = "mathstral-7B"\ninput_usd_per_mtok = 0.1\n'
        f'output_usd_per_mtok = 0.1\n[tiers."m".endpoint]\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
    )
    command = [arguments.tiercast, "serve", "--checkpoint", arguments.checkpoint, "--config", config]
    process = subprocess.Popen([*command, "--listen", f"127.0.0.1:{listens}"], stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{listens}/ready", timeout=1).read()
            return process, listens
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{name} does not answer")


def run(listens, connections, seconds):
    """Requests per second, p50 and p99 in ms."""
    url = f"http://127.0.0.1:{listens}/v1/chat/completions"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", ROOT / "evals/gateway/post.lua", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("RESULT"))
    rate, p50, p99, n_errors = (float(field) for field in line.split()[1:])
    if n_errors:
        raise SystemExit(f"{n_errors} errors")
    return rate, p50, p99


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", type=Path, default=ROOT / "target/release/tiercast")
    arguments.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints/reference")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=int, default=4)
    arguments.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    arguments = arguments.parse_args()
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    processes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            process, upstream = nginx(folder)
            processes.append(process)
            traces = f'[traces]\nendpoint = "http://127.0.0.1:{collector.server_port}"\n'
            subjects = {}
            for name, more in [
                ("off", ""),
                ("journal", f'[journal]\nfolder = "{folder}/j1"\n'),
                ("all", f'[journal]\nfolder = "{folder}/j2"\n' + traces),
            ]:
                process, listens = gateway(arguments, folder, name, upstream, more)
                processes.append(process)
                subjects[name] = listens
            print("| connections | gateway | requests/s | p50 ms | p99 ms | requests/s to off | p99 to off |")
            print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
            for connections in arguments.connections:
                table(arguments, subjects, connections)
            for name, listens in subjects.items():
                stats = urllib.request.urlopen(f"http://127.0.0.1:{listens}/metrics", timeout=10).read().decode()
                keep = ("tiercast_journal_written", "tiercast_journal_dropped", "tiercast_spans", "tiercast_observer")
                lines = [line for line in stats.splitlines() if line.startswith(keep)]
                print(f"\n`{name}`: {'; '.join(lines)}")
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    print(f"\nThe collector took {Collector.n_bytes} bytes. {os.cpu_count()} cores, shared by all.")


def table(arguments, subjects, connections):
    figures = {name: [] for name in subjects}
    names = list(subjects)
    for round in range(arguments.rounds + 1):
        for name in names[round % len(names) :] + names[: round % len(names)]:
            found = run(subjects[name], connections, arguments.seconds)
            if round:  # The first round warms up.
                figures[name].append(found)
    for name in names:
        rate, p50, p99 = (statistics.median(column) for column in zip(*figures[name]))
        ratio = lambda at: statistics.median(  # noqa: E731
            mine[at] / off[at] for mine, off in zip(figures[name], figures["off"])
        )
        print(
            f"| {connections} | {name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {ratio(0):.2f} | {ratio(2):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
