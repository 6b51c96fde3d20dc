"""What adding a tier from few prompts costs against training on all of them, over the number of prompts.

    python -m venv VENV && VENV/bin/pip install pyarrow==25.0.0
    cargo build --release
    VENV/bin/python evals/tiers/regret.py > RESULTS.md

For each tier in turn: a checkpoint is trained without it, the tier is added from n judged prompts (the most
telling ones, and as many by chance), and the result is measured on test beside a checkpoint that was trained
with all tiers on every prompt. Regret is the area of the latter minus that of the former.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
TIERS = [
    "gemini-1.5-pro-002",
    "Meta-Llama-3.1-70B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3.1-8B-Instruct",
    "mathstral-7B",
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", type=Path, default=ROOT / "target/release/tiercast")
    arguments.add_argument("--outcomes", type=Path, default=ROOT / "datasets/reference/mmlu_pro.parquet")
    arguments.add_argument("--tiers", nargs="+", default=TIERS)
    arguments.add_argument("--numbers", type=int, nargs="+", default=[25, 50, 100, 200, 400])
    arguments.add_argument("--seeds", type=int, default=3, help="choices by chance per number")
    arguments.add_argument("--split", default="test")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_table(options, measure(options, Path(folder)))


def measure(options, folder):
    """(new tier, number, choice) -> list of (AIQ, CRPS of the new tier)."""
    full = folder / "full"
    train(options, options.tiers, full)
    found = {("all tiers trained", None, None): [evaluate(options, full, folder, None)]}
    for tier in options.tiers:
        others = [other for other in options.tiers if other != tier]
        base = folder / "base"
        train(options, others, base)
        found[(tier, "trained", "all")] = [evaluate(options, full, folder, tier)]
        for number in options.numbers:
            telling = add(options, base, folder, tier, number, None)
            found[(tier, number, "telling")] = [evaluate(options, telling, folder, tier)]
            found[(tier, number, "chance")] = [
                evaluate(options, add(options, base, folder, tier, number, seed), folder, tier)
                for seed in range(options.seeds)
            ]
        print(f"{tier} done", file=sys.stderr)
    return found


def run(options, *command):
    done = subprocess.run([options.tiercast, *map(str, command)], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"tiercast {' '.join(map(str, command))}: {done.stderr[-2000:]}")


def train(options, tiers, out):
    run(options, "train", "--outcomes", options.outcomes, "--tiers", ",".join(tiers), "--out", out)


def add(options, base, folder, tier, number, seed):
    """A checkpoint with the tier; `seed` chooses the prompts by chance, none the most telling ones."""
    outcomes, features = options.outcomes, options.outcomes.with_name("features.parquet")
    if seed is not None:
        outcomes = folder / "some.parquet"
        table = pq.read_table(options.outcomes)
        fitted = pc.and_(
            pc.equal(table["model"], tier),
            pc.is_in(table["split"], value_set=pa.array(["train", "validation"])),
        )
        ids = sorted(table.filter(fitted)["prompt_id"].to_pylist())
        chosen = random.Random(seed).sample(ids, min(number, len(ids)))
        pq.write_table(table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(chosen))), outcomes)
    out = folder / "added"
    more = ["--features", features] if features.exists() else []
    run(options, "tier", "add", "--checkpoint", base, "--outcomes", outcomes, *more, "--tier", tier, "--samples", number, "--out", out)
    return out


def evaluate(options, checkpoint, folder, tier):
    """AIQ of all tiers, and the CRPS of one."""
    out = folder / "report"
    run(options, "evaluate", "--checkpoint", checkpoint, "--outcomes", options.outcomes, "--split", options.split, "--replicates", 20, "--out", out)
    report = json.loads((out / "report.json").read_text())
    crps = {row["name"]: row["crps"] for row in report["prediction"]["tiers"]}
    return report["methods"][0]["aiq"]["value"], crps.get(tier)


def print_table(options, found):
    full = found.pop(("all tiers trained", None, None))[0][0]
    mean = lambda values: sum(values) / len(values)
    print(f"AIQ with all tiers trained: {full:.4f} ({options.outcomes.name}, {options.split})\n")
    print("Regret in AIQ (mean over the tiers that were new, each in turn; by chance: over seeds too), and CRPS of the new tier:\n")
    print("| judged prompts | regret, most telling | regret, by chance | CRPS, most telling | CRPS, by chance |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for number in options.numbers:
        cells = []
        for at in (0, 1):
            for choice in ("telling", "chance"):
                values = [value[at] for tier in options.tiers for value in found[(tier, number, choice)]]
                cells.append(f"{full - mean(values):+.4f}" if at == 0 else f"{mean(values):.4f}")
        print(f"| {number} | {' | '.join(cells)} |")
    trained = mean([found[(tier, 'trained', 'all')][0][1] for tier in options.tiers])
    print(f"| all, trained | 0 | 0 | {trained:.4f} | {trained:.4f} |\n")
    print("Per new tier, regret in AIQ with the most telling prompts:\n")
    print(f"| new tier | {' | '.join(map(str, options.numbers))} |")
    print(f"| --- |{' ---: |' * len(options.numbers)}")
    for tier in options.tiers:
        cells = [f"{full - found[(tier, number, 'telling')][0][0]:+.4f}" for number in options.numbers]
        print(f"| {tier} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
