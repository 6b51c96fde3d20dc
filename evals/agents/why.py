"""Where the planner loses: its rule run offline on the validation split, one thing changed at a time.

    tiercast predict --checkpoint runs/agents/checkpoints/mmlu_pro --outcomes ../shared/data/mmlu_pro.parquet \\
        --split validation --out runs/agents/mmlu_pro-forecasts.parquet
    venv/bin/python evals/agents/why.py --set mmlu_pro --forecasts runs/agents/mmlu_pro-forecasts.parquet

No server: the knapsack is the relaxation filled up greedily, and there is no reserve, so levels differ from
`run.py` by about .01; differences between the rows are what to read.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from run import LEVELS, ROOT, SETS
from tasks import Rows, draw


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    arguments.add_argument("--set", choices=["mmlu_pro", "zeroeval"], default="mmlu_pro")
    arguments.add_argument("--forecasts", type=Path, required=True)
    arguments.add_argument("--tasks", type=int, default=200)
    options = arguments.parse_args()
    rows = Rows.read(options.data / f"{options.set}.parquet", SETS[options.set], "validation")
    quality, cost = forecasts(options.forecasts, rows)
    tasks = draw(rows, options.tasks, seed=0)
    mean = np.broadcast_to(quality.mean(axis=0), quality.shape)
    for tier_idx, tier in enumerate(rows.tiers):
        over = np.mean(rows.cost_usd[:, tier_idx] > 2 * cost[:, tier_idx])
        print(f"{tier}: {over:.1%} of the calls cost more than twice their forecast")
    print("\n| forecasts | rule | " + " | ".join(f"{level:.0%}" for level in LEVELS) + " |")
    print("| --- | --- |" + " ---: |" * len(LEVELS))
    for name, of_quality, of_cost, rule, settings in [
        ("as they are", quality, cost, "all that is left is planned", {}),
        ("true costs", quality, rows.cost_usd, "the same", {}),
        ("true scores", rows.score, cost, "the same", {}),
        ("as they are", quality, cost, "a tenth of what is left is not planned", {"cushion": 0.1}),
        ("as they are", quality, cost, "a fifth", {"cushion": 0.2}),
        ("as they are", quality, cost, "a quarter", {"cushion": 0.25}),
        ("as they are", quality, cost, "three tenths", {"cushion": 0.3}),
        ("as they are", quality, cost, "a step may cost twice its mean and leave the rest its cheapest", {"times": 2.0}),
        ("as they are", quality, cost, "three times", {"times": 3.0}),
        ("a tier's mean quality", mean, cost, "a quarter is not planned", {"cushion": 0.25}),
    ]:
        cells = [cell(tasks, level, of_quality, of_cost, **settings) for level in LEVELS]
        print(f"| {name} | {rule} | " + " | ".join(cells) + " |", flush=True)


def forecasts(path, rows):
    """Expected quality and cost [prompt, tier]; the cost as the server prices it, with the true count of the prompt."""
    table = pq.read_table(path, columns=["prompt_id", "model", "quality_mean", "output_tokens"]).to_pylist()
    by_pair = {(row["prompt_id"], row["model"]): row for row in table}
    ids = [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in rows.prompts]
    column = lambda name: np.array([[by_pair[prompt_id, tier][name] for tier in rows.tiers] for prompt_id in ids])
    price = np.array(rows.prices())
    return column("quality_mean"), (rows.input_tokens * price[:, 0] + column("output_tokens") * price[:, 1]) / 1e6


def cell(tasks, level, quality, cost, **settings):
    """Quality; share of steps without an answer; tasks over their budget."""
    runs = [follow(task, task.budget_usd(level), quality[task.prompts], cost[task.prompts], **settings) for task in tasks]
    score = np.mean([task.quality(run) for task, run in zip(tasks, runs)])
    unanswered = np.mean(np.concatenate(runs) < 0)
    over = np.mean([task.cost(run) > task.budget_usd(level) * (1 + 1e-6) for task, run in zip(tasks, runs)])
    return f"{score:.3f}; {unanswered:.1%}; {over:.0%}"


def follow(task, budget_usd, quality, cost, cushion=0.0, times=None):
    """Tiers of one task, planned again before every step with what the steps before it really cost."""
    left_usd, tiers = budget_usd, []
    for step in range(len(cost)):
        chosen = knapsack(quality[step:], cost[step:], task.importance[step:], left_usd * (1 - cushion))
        tier = int(cost[step].argmin()) if chosen is None else int(chosen[0])
        if times is not None:
            fits = times * cost[step] <= left_usd - cost[step + 1 :].min(axis=1).sum()
            if not fits[tier]:
                tier = int(np.where(fits, quality[step], -1).argmax()) if fits.any() else int(cost[step].argmin())
        if cost[step, tier] > left_usd:
            # As the gateway: the next cheaper tier that fits, else no answer.
            fits = cost[step] <= left_usd
            tier = int(np.where(fits, cost[step], -1).argmax()) if fits.any() else -1
        tiers.append(tier)
        left_usd -= task.cost_usd[step, tier] if tier >= 0 else 0.0
    return tiers


def knapsack(quality, cost, importance, room_usd):
    """A tier per step, nearly the best within the room; none where the cheapest do not fit."""
    chosen = cost.argmin(axis=1)
    spare = room_usd - cost.min(axis=1).sum()
    if spare < 0:
        return None
    upgrades = []
    for step, tier in enumerate(chosen):
        while True:
            dearer = cost[step] - cost[step, tier]
            better = (quality[step] - quality[step, tier]) * importance[step]
            is_worth = (dearer > 0) & (better > 0)
            if not is_worth.any():
                break
            slope = np.where(is_worth, better / np.where(is_worth, dearer, 1.0), -1.0)
            to = int(slope.argmax())
            upgrades.append((-slope[to], step, tier, to, dearer[to]))
            tier = to
    for _, step, tier, to, dearer in sorted(upgrades):
        if chosen[step] == tier and dearer <= spare:
            chosen[step] = to
            spare -= dearer
    return chosen


if __name__ == "__main__":
    sys.exit(main())
