"""A plain second opinion: other people's library on the same rows.

    python second_opinion.py --outcomes FILE.parquet --predictions P.parquet \
        --report REPORT/report.json [--split test] [--tiers a,b,c]

Trains TF-IDF + logistic regression, kNN and an MLP (scikit-learn) on `train`, and computes the metrics of
every method, tiercast's from `tiercast predict` output among them, again in numpy and scikit-learn: AIQ on
linear cost (A.2) or APGR (A.1), Brier, CRPS (A.8) and ECE. With --report it compares tiercast's figures with
those of `tiercast evaluate` and exits 1 where they differ by more than 1e-6 (ECE and AIQ: 2e-3, since bins and
the grid of lambdas are free choices). The outcomes need a `prompt` column.
"""

import argparse
import json
import sys

import numpy as np
import pyarrow.parquet as pq
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor

# Quality per US dollar, as `tiercast evaluate` sweeps: 0 and logarithmic steps.
LAMBDAS = np.concatenate([[0.0], np.logspace(-3, 7, 401)])


def table(path, columns):
    return pq.read_table(path, columns=columns).to_pydict()


def read_outcomes(path, tiers):
    names = ["prompt_id", "prompt", "split", "model", "score", "cost_usd", "input_tokens"]
    rows = table(path, names)
    prompts = {}
    for at, model in enumerate(rows["model"]):
        if model in tiers:
            prompts.setdefault(rows["prompt_id"][at], {})[model] = at
    ids = [p for p, answers in prompts.items() if len(answers) == len(tiers)]
    first = [prompts[p][tiers[0]] for p in ids]
    matrix = lambda name: np.array([[rows[name][prompts[p][t]] for t in tiers] for p in ids], float)
    return {
        "ids": ids,
        "text": [rows["prompt"][at] for at in first],
        "split": np.array([rows["split"][at] for at in first]),
        "score": matrix("score"),
        "cost": matrix("cost_usd"),
    }


def read_predictions(path, ids, tiers):
    rows = table(path, ["prompt_id", "model", "quality_mean", "quality_grid", "quality_pmf", "cost_usd"])
    place = {key: at for at, key in enumerate(zip(rows["prompt_id"], rows["model"]))}
    at = [[place[(p, t)] for t in tiers] for p in ids]
    pick = lambda name: np.array([[rows[name][cell] for cell in row] for row in at], float)
    return {"mean": pick("quality_mean"), "pmf": pick("quality_pmf"), "cost": pick("cost_usd"), "grid": np.array(rows["quality_grid"][0])}


def two_point(mean):
    """Mass at the ends of the grid for methods that predict a mean alone."""
    pmf = np.zeros(mean.shape + (21,))
    pmf[..., 0], pmf[..., -1] = 1 - mean, mean
    return pmf


def aiq(quality, predicted_cost, score, cost):
    """Mean height of the upper concave non-decreasing hull between the cheapest and the dearest tier (A.2)."""
    items = np.arange(len(score))
    points = []
    for price in LAMBDAS:
        chosen = np.argmax(quality - price * predicted_cost, axis=1)
        points.append((cost[items, chosen].mean(), score[items, chosen].mean()))
    hull = []
    for at, height in sorted(points):
        if hull and height <= hull[-1][1]:
            continue
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (at - hull[-2][0]) <= (height - hull[-2][1]) * (hull[-1][0] - hull[-2][0]):
            hull.pop()
        hull.append((at, height))
    low, high = cost.mean(0).min(), cost.mean(0).max()
    x = np.linspace(low, high, 20001)
    return np.interp(x, *zip(*hull)).mean()


def apgr(gap, score, strong, weak):
    """Area under the recovered gap over the share of strong calls; ties as straight lines (A.1)."""
    gain = score[:, strong] - score[:, weak]
    order = np.argsort(-gap, kind="stable")
    _, blocks = np.unique(-gap[order], return_inverse=True)
    tied = np.bincount(blocks, gain[order]) / np.bincount(blocks)
    recovered = np.concatenate([[0], np.cumsum(tied[blocks])]) / gain.sum()
    return np.trapezoid(recovered, dx=1 / len(gain))


def crps(pmf, score):
    """Sum over cells of F^2 x (part below the outcome) + (1 - F)^2 x (part above it)."""
    cells = pmf.shape[-1] - 1
    below = np.cumsum(pmf, axis=-1)[..., :-1]
    edges = np.arange(cells) / cells
    above = np.clip((edges + 1 / cells - score[..., None]) * cells, 0, 1)
    return (below**2 * (1 - above) + (1 - below) ** 2 * above).mean()


def ece(probability, event, n_bins=15):
    probability = np.clip(probability, 0, 1)
    observed, predicted = calibration_curve(event, probability, n_bins=n_bins, strategy="uniform")
    counts = np.histogram(probability, bins=np.linspace(0, 1, n_bins + 1))[0]
    return float((np.abs(observed - predicted) * counts[counts > 0]).sum() / len(event))


def baselines(data, train, kept):
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, max_features=50_000, sublinear_tf=True)
    x_train = words.fit_transform([data["text"][i] for i in train])
    x_kept = words.transform([data["text"][i] for i in kept])
    y = data["score"][train]
    forecasts = {"knn": KNeighborsRegressor(50, metric="cosine").fit(x_train, y).predict(x_kept)}
    columns = []
    for tier in range(y.shape[1]):
        # A graded outcome counts as that share of a success.
        doubled = np.concatenate([np.arange(len(y))] * 2)
        labels = np.repeat([1, 0], len(y))
        weights = np.concatenate([y[:, tier], 1 - y[:, tier]])
        used = weights > 0
        model = LogisticRegression(C=1.0, max_iter=300).fit(x_train[doubled[used]], labels[used], weights[used])
        columns.append(model.predict_proba(x_kept)[:, 1])
    forecasts["tfidf_logistic"] = np.stack(columns, axis=1)
    mlp = MLPRegressor(hidden_layer_sizes=(64,), alpha=1.0, max_iter=20, early_stopping=True, random_state=0)
    forecasts["tfidf_mlp"] = np.clip(mlp.fit(x_train, y).predict(x_kept), 0, 1)
    return forecasts


def figures(mean, pmf, predicted_cost, score, cost):
    dear, cheap = cost.mean(0).argmax(), cost.mean(0).argmin()
    found = {
        "brier": float(((mean - score) ** 2).mean()),
        "crps": float(crps(pmf, score)),
        "ece": float(np.mean([ece(pmf[:, t, 10:].sum(-1), score[:, t] >= 0.5) for t in range(score.shape[1])])),
    }
    if set(np.unique(score)) <= {0.0, 1.0}:
        again = np.mean([brier_score_loss(score[:, t], np.clip(mean[:, t], 0, 1)) for t in range(score.shape[1])])
        assert abs(again - found["brier"]) < 1e-9, "Brier differs from scikit-learn's"
    if score.shape[1] == 2:
        found["apgr"] = float(apgr(mean[:, dear] - mean[:, cheap], score, dear, cheap))
    else:
        found["aiq"] = float(aiq(mean, predicted_cost, score, cost))
    return found


def compare(found, report):
    """Ours beside what the evaluation says; the names of figures that differ."""
    report = json.load(open(report))
    ours = next(m for m in report["methods"] if m["name"] == "tiercast")
    said = {"brier": report["prediction"]["pooled"]["brier"], "crps": report["prediction"]["pooled"]["crps"]}
    if "aiq" in found:
        said["aiq"] = ours["aiq"]["value"]
    elif ours.get("two_tier"):
        said["apgr"] = ours["two_tier"]["apgr"]["value"]
    allowed = {"aiq": 2e-3}
    differing = []
    for name, value in said.items():
        gap = abs(value - found[name])
        print(f"{name}: evaluate {value:.6f}, here {found[name]:.6f}, difference {gap:.1e}")
        if gap > allowed.get(name, 1e-6):
            differing.append(name)
    return differing


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--outcomes", required=True)
    arguments.add_argument("--predictions", required=True)
    arguments.add_argument("--report")
    arguments.add_argument("--split", default="test")
    arguments.add_argument("--tiers", help="comma-separated; default: those of the predictions")
    arguments.add_argument("--no-baselines", action="store_true")
    given = arguments.parse_args()
    tiers = given.tiers.split(",") if given.tiers else sorted(set(table(given.predictions, ["model"])["model"]))
    data = read_outcomes(given.outcomes, tiers)
    train, kept = (np.flatnonzero(data["split"] == split) for split in ("train", given.split))
    ids = [data["ids"][i] for i in kept]
    score, cost = data["score"][kept], data["cost"][kept]
    ours = read_predictions(given.predictions, ids, tiers)
    rows = {"tiercast": figures(ours["mean"], ours["pmf"], ours["cost"], score, cost)}
    if not given.no_baselines:
        for name, mean in baselines(data, train, kept).items():
            # Costs are tiercast's, so that only the qualities differ.
            rows[name] = figures(mean, two_point(np.clip(mean, 0, 1)), ours["cost"], score, cost)
    print(f"{len(ids)} prompts of {given.split}, {len(tiers)} tiers")
    for name, found in rows.items():
        print(f"{name:16}" + "  ".join(f"{figure} {value:.4f}" for figure, value in found.items()))
    if given.report:
        differing = compare(rows["tiercast"], given.report)
        if differing:
            sys.exit(f"differs from the evaluation: {', '.join(differing)}")


if __name__ == "__main__":
    main()
