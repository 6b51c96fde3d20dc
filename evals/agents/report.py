"""Runs to figures: quality and money per policy, differences to the planner with intervals, and the page."""

import numpy as np

REPLICATES = 2000
OPTIMUM = "offline optimum"
CAUTIOUS = "planner for 85 %"


def summarise(tasks, runs, prices_of_prompt, seed):
    """A row per level, mode and policy. `runs` has a list per (level, when_spent, policy), in the order of `tasks`."""
    rows = []
    for (level, when_spent, policy), of in runs.items():
        over = np.array([run["spent_usd"] / run["budget_usd"] - 1 for run in of])
        # The store counts in whole units; a task is over its budget where that is no rounding.
        is_over = over > 1e-6
        answered = np.concatenate([run["tiers"] for run in of])
        row = {
            "level": level,
            "when_spent": when_spent,
            "policy": policy,
            "quality": mean_quality(tasks, of),
            "spent_share": sum(run["spent_usd"] for run in of) / sum(run["budget_usd"] for run in of),
            "spent_usd": sum(run["spent_usd"] for run in of),
            "over_budget": float(is_over.mean()),
            "over_budget_by": float(over[is_over].mean()) if is_over.any() else 0.0,
            "over_budget_most": float(max(over.max(), 0.0)),
            "unanswered": float((answered < 0).mean()),
            "calls": int((answered >= 0).sum()),
            "refused": sum(run["n_refused"] for run in of),
            "without_plan": sum(not run.get("has_plan", True) for run in of),
            "tiers": {prices_of_prompt[tier]: int((answered == tier).sum()) for tier in range(len(prices_of_prompt))},
        }
        # The optimum knows no mode: it never goes over the budget.
        for name, ours in (("planner_minus", "planner"), ("cautious_minus", CAUTIOUS)):
            theirs = runs.get((level, when_spent or "refuse", ours))
            if theirs and policy != ours:
                row[name] = difference(tasks, theirs, of, seed)
        rows.append(row)
    return rows


def mean_quality(tasks, runs):
    return float(np.mean([task.quality(run["tiers"]) for task, run in zip(tasks, runs)]))


def difference(tasks, ours, theirs, seed):
    """Mean over tasks of our quality less theirs, with 95 % intervals.

    `by_task` resamples tasks. Tasks share prompts, so they are not independent: `by_task_and_prompt` resamples both
    and multiplies the weights (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007), which is
    too wide rather than too narrow.
    """
    chance = np.random.default_rng(seed)
    gain = [task.score_of(a["tiers"]) - task.score_of(b["tiers"]) for task, a, b in zip(tasks, ours, theirs)]
    weight = [task.importance / task.importance.sum() for task in tasks]
    of_task = np.array([w @ g for w, g in zip(weight, gain)])
    n_tasks = len(tasks)
    prompts = np.unique(np.concatenate([task.prompts for task in tasks]), return_inverse=True)[1]
    task_idx = np.repeat(np.arange(n_tasks), [len(task.prompts) for task in tasks])
    weight, gain = np.concatenate(weight), np.concatenate(gain)
    by_task, by_both = [], []
    for _ in range(REPLICATES):
        times = np.bincount(chance.integers(n_tasks, size=n_tasks), minlength=n_tasks)
        by_task.append(times @ of_task / n_tasks)
        of_prompt = np.bincount(chance.integers(prompts.max() + 1, size=prompts.max() + 1), minlength=prompts.max() + 1)
        both = weight * times[task_idx] * of_prompt[prompts]
        by_both.append(both @ gain / both.sum())
    interval = lambda values: [float(bound) for bound in np.quantile(values, [0.025, 0.975])]
    return {"mean": float(of_task.mean()), "by_task": interval(by_task), "by_task_and_prompt": interval(by_both)}


def page(rows, when_spent):
    """The rows of one mode as a Markdown table."""
    lines = [
        f"| budget | policy | quality | spent | tasks over budget | unanswered | calls | planner minus it | {CAUTIOUS} minus it |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        # The optimum knows no mode; it stands beside budgets that are limits.
        if (row["when_spent"] or "refuse") != when_spent:
            continue
        over = f"{row['over_budget']:.1%}, by {row['over_budget_by']:.1%} (at most {row['over_budget_most']:.1%})"
        lines.append(
            f"| {row['level']:.0%} | {row['policy']} | {row['quality']:.3f} | {row['spent_share']:.1%} | "
            f"{over if row['over_budget'] else '0'} | {row['unanswered']:.1%} | {row['calls']:,} | "
            f"{gap(row.get('planner_minus'))} | {gap(row.get('cautious_minus'))} |"
        )
    return "\n".join(lines) + "\n"


def gap(difference):
    if not difference:
        return ""
    return "{:+.3f} [{:+.3f}, {:+.3f}]; [{:+.3f}, {:+.3f}]".format(
        difference["mean"], *difference["by_task"], *difference["by_task_and_prompt"]
    )
