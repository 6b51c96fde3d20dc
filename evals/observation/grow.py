"""Report and drift over a journal that grows: time and memory from 0.1 to 10 million rows on disk.

    venv/bin/pip install -r evals/observation/requirements.txt
    venv/bin/python evals/observation/grow.py > RESULTS.md

A real journal is made first: `--base` requests of MMLU-Pro's validation prompts through `tiercast serve` and `tiercast
replay`, a fifth of them rated (as in `inject.py`), closed into Parquet segments with features. Its segments are then linked
again and again under new names and entered in the manifest, so every figure of a row is a real one, but rows repeat and
their pages are in the machine's cache. `tiercast report` and `tiercast drift` run as processes of their own; processor
time and peak memory are the operating system's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent))
from inject import ROOT, Gateway, Traffic, load  # noqa: E402


def make_base(options, folder):
    rows, tiers = load(options)
    gateway = Gateway(options, folder, tiers, "rotate_rows = 2000\n")
    try:
        gateway.replay(pa.Table.from_pylist(rows))
        gateway.configure({})
        gateway.serve()
        traffic = Traffic(options, gateway, rows, seed=0)
        traffic.send(options.base)
        time.sleep(10.0)
    finally:
        for process in list(gateway.processes):
            gateway.end(process)
    return folder / "journal"


def grown(base, to, n_rows):
    """The base's closed rows as often as it takes to have at least `n_rows` of requests."""
    manifest = json.loads((base / "manifest.json").read_text())
    (to / "segments").mkdir(parents=True)
    for file in base.iterdir():
        if file.is_file() and file.suffix not in (".sqlite", ".sqlite-wal", ".sqlite-shm") and file.name != "lock":
            shutil.copy(file, to / file.name)
    segments, shift, n = [], 0, 0
    last = manifest["rotated_to"]
    while n < n_rows:
        for segment in manifest["segments"]:
            copy = dict(segment, first_seq=segment["first_seq"] + shift, last_seq=segment["last_seq"] + shift)
            copy["file"] = named(segment, copy)
            os.link(base / "segments" / segment["file"], to / "segments" / copy["file"])
            segments.append(copy)
            n += segment["rows"] if segment["kind"] == "served" else 0
        shift += last
    manifest.update(segments=segments, rotated_to=shift)
    (to / "manifest.json").write_text(json.dumps(manifest))
    return n


def named(segment, copy):
    """The segment's file name with its row numbers replaced."""
    name = segment["file"]
    for key in ("first_seq", "last_seq"):
        width = len(str(segment[key]))
        name = name.replace(str(segment[key]).zfill(width), str(copy[key]), 1)
    return name


def run(options, command):
    """Seconds, processor seconds and peak memory in MiB."""
    start = time.monotonic()
    process = subprocess.Popen([options.tiercast, *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):
        raise SystemExit(f"{command[0]} ended with {code}")
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", type=Path, default=ROOT / "target/release/tiercast")
    arguments.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints/reference")
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    arguments.add_argument("--base", type=int, default=20_000)
    arguments.add_argument("--rated", type=float, default=0.2)
    arguments.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    options = arguments.parse_args()
    print("| rows | on disk | command | s | processor s | us a row | peak MiB |\n| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        base = make_base(options, Path(name))
        for wanted in options.rows:
            folder = Path(name) / f"grown-{wanted}"
            n = grown(base, folder, wanted)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            for command in ("report", "drift"):
                seconds, processor, peak = run(options, [command, "--json", "--journal", folder, "--since", "3650d"])
                print(f"| {n:,} | {size / 2**30:.2f} GiB | {command} | {seconds:.1f} | {processor:.1f} | ", end="")
                print(f"{processor / n * 1e6:.1f} | {peak:.0f} |", flush=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
