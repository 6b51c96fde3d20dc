"""Agent tasks under a budget, through the real server: the planner against first come first served, a fixed tier,
plain `auto`, and the offline optimum.

    python3 -m venv venv && venv/bin/pip install -r evals/agents/requirements.txt
    cargo build --release
    venv/bin/python evals/agents/run.py --set mmlu_pro --split validation --out runs/agents
    venv/bin/python evals/agents/run.py --quick                         # datasets/smoke, some seconds

`tiercast replay` serves the recorded replies, `tiercast serve` routes with a checkpoint that `tiercast train` made
from the train split, and every task is a session with a budget of its own. What is measured is in README.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np

import report
from servers import Gateway, Server, Session
from tasks import Rows, draw, optimum

ROOT = Path(__file__).resolve().parents[2]
LEVELS = (0.1, 0.25, 0.5, 0.75)
SETS = {
    "mmlu_pro": [
        "gemini-1.5-pro-002", "Meta-Llama-3.1-70B-Instruct", "gemini-1.5-flash-002", "Meta-Llama-3.1-8B-Instruct",
        "mathstral-7B",
    ],
    "zeroeval": [
        "o1-mini-2024-09-12", "gpt-4o-2024-08-06", "Meta-Llama-3.1-70B-Instruct", "gpt-4o-mini-2024-07-18",
        "Meta-Llama-3.1-8B-Instruct",
    ],
    "smoke": ["smol-64", "smol-24", "smol-8"],
}  # fmt: skip
# Of datasets/smoke, which records some prompts as cached and does not say which.
PRICES = {"smoke": [(0.08, 0.32), (0.03, 0.12), (0.01, 0.04)]}
# A plan for so much of the budget, so that what is left can pay for steps that cost more than expected.
CAUTIOUS_SHARE = 0.85
# What is sent with a plan beside the steps; these are tried on validation alone.
VARIANTS = {
    "planner, no reserve": {"reserve_share": 0.0},
    "planner, no cushion": {"cushion_share": 0.0},
    "planner, cushion 0.3": {"cushion_share": 0.3},
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiercast", default=ROOT / "target/release/tiercast")
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    arguments.add_argument("--set", choices=SETS, default="mmlu_pro")
    arguments.add_argument("--split", choices=["validation", "test"], default="validation")
    arguments.add_argument("--tasks", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--workers", type=int, default=2, help="servers that work at once")
    arguments.add_argument("--variants", action="store_true", help="other ways to ask for a plan too")
    arguments.add_argument("--out", type=Path, default=ROOT / "runs/agents")
    arguments.add_argument("--quick", action="store_true", help="a few tasks of datasets/smoke")
    options = arguments.parse_args()
    if options.quick:
        options.set, options.tasks, options.data = "smoke", 6, ROOT / "datasets/smoke"
    evaluate(options)


def evaluate(options):
    tiers = SETS[options.set]
    file = options.data / ("outcomes.parquet" if options.set == "smoke" else f"{options.set}.parquet")
    rows = {split: Rows.read(file, tiers, split, PRICES.get(options.set)) for split in ("train", "validation", options.split)}
    tasks = draw(rows[options.split], options.tasks, options.seed)
    checkpoint = options.out / "checkpoints" / options.set
    if not checkpoint.exists():
        train(options, file, tiers, checkpoint)
    replay = Server([options.tiercast, "replay", "--outcomes", file, "--models", ",".join(tiers), "--instant"])
    try:
        runs, sessions_usd = serve(options, tasks, rows, checkpoint, replay)
        stats = replay.ask("GET", "/replay/stats")[2]
    finally:
        assert replay.end() == 0
    for level in LEVELS:
        runs[level, None, report.OPTIMUM] = [offline(task, level) for task in tasks]
    check(stats, tasks, runs, sessions_usd)
    write(options, tasks, rows, runs)


def train(options, file, tiers, checkpoint):
    command = [options.tiercast, "train", "--outcomes", file, "--tiers", ",".join(tiers), "--out", checkpoint]
    command += ["--epochs", "4", "--members", "1"] if options.quick else []
    command += ["--cache", options.out / "cache"]
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def serve(options, tasks, rows, checkpoint, replay):
    """Every task under every level, mode and policy; a server has one budget at a time, so each works on one task."""
    policies = policies_of(options, rows)
    modes = ("refuse", "degrade")
    keys = [(level, mode, policy) for level in LEVELS for mode in modes for policy in policies(level, mode)]
    runs = {key: [None] * len(tasks) for key in keys}
    prices, free = rows["train"].prices(), Queue()

    def one(number):
        gateway = free.get()
        try:
            for level in LEVELS:
                budget_usd = tasks[number].budget_usd(level)
                for mode in modes:
                    gateway.set_budget(budget_usd, mode)
                    for place, (policy, follow) in enumerate(policies(level, mode).items()):
                        session = Session(gateway, f"{tasks[number].name}-{level}-{mode}-{place}", budget_usd)
                        has_plan = follow(session, tasks[number])
                        runs[level, mode, policy][number] = result(session, has_plan)
        finally:
            free.put(gateway)

    with tempfile.TemporaryDirectory() as folder:
        gateways = []
        for worker in range(options.workers):
            place = Path(folder) / str(worker)
            place.mkdir()
            gateways.append(Gateway(options.tiercast, checkpoint, place, rows["train"].tiers, prices, replay.port))
            free.put(gateways[-1])
        try:
            with ThreadPoolExecutor(options.workers) as pool:
                for number, _ in enumerate(pool.map(one, range(len(tasks)))):
                    if (number + 1) % 50 == 0:
                        print(f"{number + 1} of {len(tasks)} tasks", file=sys.stderr)
            settled = sum(gateway.ask("GET", "/v1/stats")[2]["cost_usd"] for gateway in gateways)
        finally:
            codes = [gateway.end() for gateway in gateways]
    assert codes == [0] * len(codes), codes
    return runs, settled


def result(session, has_plan):
    return {
        "tiers": session.answered,
        "spent_usd": session.spent_usd,
        "budget_usd": session.budget_usd,
        "n_refused": session.n_refused,
        "has_plan": has_plan,
    }


def policies_of(options, rows):
    """Level -> name -> what follows the policy through one session. Settings are from train and validation."""
    train, known, prompts = rows["train"], rows["validation"], rows[options.split].prompts
    cheapest = train.tiers[int(train.cost_usd.mean(axis=0).argmin())]

    def planned(terms, share=1.0, output_tokens=None):
        def follow(session, task):
            steps = [
                {
                    "id": f"s{step}",
                    "prompt": prompts[prompt],
                    "importance": int(task.importance[step]),
                    "depends_on": [f"s{earlier}" for earlier in task.depends_on[step]],
                    # A client can count its prompt; how long an answer will be the server forecasts per tier.
                    "input_tokens": float(rows[options.split].input_tokens[prompt, 0]),
                    **({"output_tokens": output_tokens} if output_tokens else {}),
                }
                for step, prompt in enumerate(task.prompts)
            ]
            shares = dict.fromkeys([share, 1.0])
            has_plan = any(session.plan(of * session.budget_usd, steps=steps, **terms) for of in shares)
            for step, prompt in enumerate(task.prompts):
                if has_plan:
                    session.step(prompts[prompt], ["auto"], step_id=f"s{step}")
                else:
                    session.step(prompts[prompt], [cheapest])
            return has_plan

        return follow

    def asked(*models):
        def follow(session, task):
            for prompt in task.prompts:
                session.step(prompts[prompt], models)
            return True

        return follow

    def even(session, task):
        n_left = len(task.prompts)
        for prompt in task.prompts:
            share_usd = max(session.budget_usd - session.spent_usd, 0.0) / n_left
            session.step(prompts[prompt], ["auto:best", cheapest], max_cost_usd=f"{share_usd:.12f}")
            n_left -= 1
        return True

    def fixed(level):
        """Of the tiers whose mean cost is within the mean budget, the best; both on validation."""
        least, most = known.cost_usd.min(axis=1).mean(), known.cost_usd.max(axis=1).mean()
        fits = known.cost_usd.mean(axis=0) <= least + level * (most - least)
        fits[known.cost_usd.mean(axis=0).argmin()] = True
        return train.tiers[int(np.where(fits, known.score.mean(axis=0), -1).argmax())]

    variants = {}
    if options.variants:
        variants = {name: planned(terms) for name, terms in VARIANTS.items()}
        variants["planner, client's output tokens"] = planned({}, output_tokens=float(train.output_tokens.mean()))

    def at(level, mode):
        beyond = {"planner": planned({}), "first come first served": asked("auto:best")}
        if mode == "degrade":
            return beyond
        return {
            **beyond,
            report.CAUTIOUS: planned({}, CAUTIOUS_SHARE),
            **variants,
            f"fixed: {fixed(level)}": asked(fixed(level), cheapest),
            "auto": asked("auto"),
            "even split": even,
        }

    return at


def offline(task, level):
    budget_usd = task.budget_usd(level)
    tiers = optimum(task, budget_usd)
    return {"tiers": tiers, "spent_usd": task.cost(tiers), "budget_usd": budget_usd, "n_refused": 0}


def check(stats, tasks, runs, settled_usd):
    """No call is missing and no cent: what sessions say, what is recorded, and what the replay counted agree."""
    served = [(task, run) for key, of in runs.items() if key[1] for task, run in zip(tasks, of)]
    for task, run in served:
        assert len(run["tiers"]) == len(task.prompts)
        assert abs(run["spent_usd"] - task.cost(run["tiers"])) < 1e-9, (task.name, run, task.cost(run["tiers"]))
    n_calls = sum(tier >= 0 for _, run in served for tier in run["tiers"])
    assert stats["calls"] == n_calls, (stats["calls"], n_calls)
    spent_usd = sum(run["spent_usd"] for _, run in served)
    assert abs(spent_usd - settled_usd) < 1e-6, (spent_usd, settled_usd)
    print(f"{n_calls:,} calls, ${spent_usd:.6f}: sessions, records and replay agree", file=sys.stderr)


def write(options, tasks, rows, runs):
    table = report.summarise(tasks, runs, rows["train"].tiers, options.seed)
    table.sort(key=lambda row: row["level"])
    n_steps = sum(len(task.prompts) for task in tasks)
    found = {
        "set": options.set,
        "split": options.split,
        "seed": options.seed,
        "n_tasks": len(tasks),
        "n_steps": n_steps,
        "n_prompts": len({prompt for task in tasks for prompt in task.prompts}),
        "budgets_usd_mean": {f"{level:.0%}": float(np.mean([task.budget_usd(level) for task in tasks])) for level in LEVELS},
        "rows": table,
    }
    head = f"{options.set}, {options.split} split: {found['n_tasks']} tasks, {n_steps:,} steps, {found['n_prompts']:,} different prompts."
    text = f"{head}\n\nA budget is a limit (`when_spent = \"refuse\"`):\n\n{report.page(table, 'refuse')}"
    text += f"\nThe cheapest tier goes on over the budget (`when_spent = \"degrade\"`):\n\n{report.page(table, 'degrade')}"
    folder = options.out / f"{options.set}-{options.split}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "result.md").write_text(text)
    raw = [{"level": key[0], "when_spent": key[1], "policy": key[2], "runs": of} for key, of in runs.items()]
    (folder / "runs.json").write_text(json.dumps(raw))
    print(text)


if __name__ == "__main__":
    sys.exit(main())
