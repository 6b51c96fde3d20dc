"""Tasks made from outcome rows, their budgets, and the best that a budget could have bought."""

import random
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

PICODOLLARS = 1e12
# Share of the steps that count three times; the others count once.
IMPORTANT_SHARE, IMPORTANT = 0.2, 3
N_STEPS = (5, 20)
N_CHAINS = (1, 3)


@dataclass
class Rows:
    """Prompts that every tier has answered: arrays are [prompt, tier]."""

    tiers: list
    prompts: list
    score: np.ndarray
    cost_usd: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray

    @classmethod
    def read(cls, path, tiers, split, prices=None):
        """Costs as recorded, or by `prices` (in, out; US dollars per million tokens) where some tokens were cached."""
        table = pq.read_table(path, filters=(pc.field("split") == split) & pc.field("model").isin(tiers))
        by_prompt = {}
        for row in table.to_pylist():
            if row["response"] and row["prompt_format"] == "text":
                by_prompt.setdefault(row["prompt"], {})[row["model"]] = row
        whole = sorted(prompt for prompt, of in by_prompt.items() if len(of) == len(tiers))
        column = lambda name: np.array([[by_prompt[prompt][tier][name] for tier in tiers] for prompt in whole], float)
        rows = cls(tiers, whole, *map(column, ["score", "cost_usd", "input_tokens", "output_tokens"]))
        if prices is not None:
            rows.cost_usd = (rows.input_tokens * [price[0] for price in prices] + rows.output_tokens * [price[1] for price in prices]) / 1e6
        return rows

    def prices(self):
        """US dollars per million tokens in and out, per tier: those that give the recorded costs again."""
        found = []
        for tier_idx, tier in enumerate(self.tiers):
            tokens = np.stack([self.input_tokens[:, tier_idx], self.output_tokens[:, tier_idx]], axis=1)
            price = np.linalg.lstsq(tokens, self.cost_usd[:, tier_idx], rcond=None)[0]
            error = np.abs(tokens @ price - self.cost_usd[:, tier_idx]).max()
            assert error < 1e-12, f"the costs of {tier} are no price times tokens (off by {error} US dollars)"
            found.append(np.round(price * 1e6, 9))
        return found


@dataclass
class Task:
    """Steps in the order in which they run; `depends_on` has positions of earlier steps."""

    name: str
    prompts: list
    importance: np.ndarray
    depends_on: list
    score: np.ndarray
    cost_usd: np.ndarray

    def budget_usd(self, level):
        """So far from the cheapest way through the task to the dearest, by what the calls really cost."""
        cheapest, dearest = self.cost_usd.min(axis=1).sum(), self.cost_usd.max(axis=1).sum()
        return cheapest + level * (dearest - cheapest)

    def score_of(self, tiers):
        """Score per step; one without an answer (-1) scores 0."""
        tiers = np.asarray(tiers)
        return np.where(tiers >= 0, self.score[np.arange(len(tiers)), tiers], 0.0)

    def quality(self, tiers):
        """Mean score, weighed by importance."""
        return float(self.score_of(tiers) @ self.importance / self.importance.sum())

    def cost(self, tiers):
        return sum(self.cost_usd[step, tier] for step, tier in enumerate(tiers) if tier >= 0)


def draw(rows, n_tasks, seed):
    """Tasks of 5 to 20 steps in one to three chains; no task has a prompt twice, different tasks may share one."""
    chance = random.Random(seed)
    tasks = []
    for number in range(n_tasks):
        n_steps = min(chance.randint(*N_STEPS), len(rows.prompts))
        prompts = chance.sample(range(len(rows.prompts)), n_steps)
        importance = [IMPORTANT if chance.random() < IMPORTANT_SHARE else 1 for _ in prompts]
        n_chains, last, depends_on = chance.randint(*N_CHAINS), {}, []
        for step in range(n_steps):
            chain = chance.randrange(n_chains)
            depends_on.append([last[chain]] if chain in last else [])
            last[chain] = step
        tasks.append(
            Task(f"task-{number}", prompts, np.array(importance), depends_on, rows.score[prompts], rows.cost_usd[prompts])
        )
    return tasks


def optimum(task, budget_usd):
    """Tiers of the largest quality within the budget when scores and costs are known: what no router can do.

    A multiple-choice knapsack by dynamic programming over the value (Kellerer, Pferschy, Pisinger, "Knapsack
    Problems", 2004, section 11.5): scores are 0 or 1 and importance is whole, so the cheapest way to each value is exact.
    """
    value = np.rint(task.score * task.importance[:, None]).astype(int)
    assert np.allclose(value, task.score * task.importance[:, None]), "the optimum needs scores of 0 or 1"
    cost = np.rint(task.cost_usd * PICODOLLARS).astype(np.int64)
    nowhere = np.iinfo(np.int64).max // 2
    least = np.full(task.importance.sum() + 1, nowhere, np.int64)
    least[0] = 0
    ways = []
    for step in range(len(cost)):
        reached = np.full((len(least), cost.shape[1]), nowhere, np.int64)
        for tier in range(cost.shape[1]):
            gain = value[step, tier]
            reached[gain:, tier] = least[: len(least) - gain] + cost[step, tier]
        ways.append(reached.argmin(axis=1))
        least = np.minimum(reached.min(axis=1), nowhere)
    room = int(np.rint(budget_usd * PICODOLLARS))
    best = int(np.flatnonzero(least <= room).max())
    tiers, left = [], best
    for step in reversed(range(len(cost))):
        tier = int(ways[step][left])
        tiers.append(tier)
        left -= value[step, tier]
    tiers.reverse()
    assert left == 0 and task.quality(tiers) <= bound(task, budget_usd) + 1e-9
    return tiers


def bound(task, budget_usd):
    """What no choice of tiers exceeds: the Lagrangian dual of the budget, its smallest over a grid of prices."""
    value = task.score * task.importance[:, None]
    prices = np.concatenate([[0.0], np.geomspace(1e-2, 1e8, 201)])[:, None, None]
    duals = (value - prices * task.cost_usd).max(axis=2).sum(axis=1) + prices[:, 0, 0] * budget_usd
    return float(duals.min() / task.importance.sum())
