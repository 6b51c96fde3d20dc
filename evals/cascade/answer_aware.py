"""Is the cheap tier's reply good? Question alone against question and reply, on replies others recorded.

    python answer_aware.py gsm8k --data DIR [--inner] [--head BINARY]
    python answer_aware.py right --data DIR [--head BINARY]

`gsm8k`: APGR (METRICS A.1) of escalating RouteLLM's Mixtral to GPT-4 on GSM8K after Mixtral's reply was seen:
five folds by question over all rows, ranked together, and once train -> test. With --inner three times five
folds of the train rows alone, which is where everything was chosen. `right`: AUC of "the cheap tier's reply is
right" on five inner folds of the train rows of mmlu_pro, zeroeval and bfcl.
Intervals: 95 %, bootstraps over questions. BINARY is the example `estimate_replies` of tiercast-trainer: the Rust head
on the same folds. DIR holds the Parquet files with a `response` column.
"""

import argparse
import json
import subprocess
import warnings
import zlib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from signs import concluded_number, signs

WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
SHAPE = "bytes words lines sentences length_ratio unique repetition longest_line overlap digits mark_61 mark_63 mark_36 mark_37 numbers distinct_numbers concluded concluded_integer"
CHEAP = [
    ("mmlu_pro", "Meta-Llama-3.1-8B-Instruct"),
    ("mmlu_pro", "gemini-1.5-flash-002"),
    ("mmlu_pro", "mathstral-7B"),
    ("zeroeval", "Meta-Llama-3.1-8B-Instruct"),
    ("zeroeval", "gpt-4o-mini-2024-07-18"),
    ("bfcl", "claude-3-haiku-20240307"),
    ("bfcl", "gpt-4o-mini-2024-07-18"),
    ("bfcl", "Salesforce_xLAM-7b-fc-r"),
]


def read(path, models=None):
    columns = ["subset", "split_key", "split", "prompt", "model", "response", "score"]
    rows = pq.read_table(path, columns=columns).to_pandas()
    keep = rows.response.notna() & (rows.subset != "numersense-v2")
    return rows[keep & (rows.model.isin(models) if models else True)].reset_index(drop=True)


def sign_table(rows, names=None):
    table = pd.DataFrame([signs(q, a) for q, a in zip(rows.prompt, rows.response)]).astype("float32").fillna(0)
    return table if names is None else table.reindex(columns=names, fill_value=0)


def ngrams(texts):
    counts = HashingVectorizer(n_features=1 << 14, ngram_range=(1, 2), token_pattern=r"\w+", alternate_sign=False, norm=None).transform(texts)
    counts.data = 1 + np.log(counts.data)
    return counts


def fold_of(keys, k, seed):
    return np.array([zlib.crc32(f"{seed}:{key}".encode()) % k for key in keys])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logit(p):
    return np.log(np.clip(p, 1e-4, 1 - 1e-4) / np.clip(1 - p, 1e-4, 1 - 1e-4))


def logistic(x, y, c):
    return LogisticRegression(C=c, max_iter=200).fit(x, y)


def on_figures(train, y, test, c=0.01):
    scaler = StandardScaler().fit(train)
    scale = lambda x: np.clip(scaler.transform(x), -4, 4)
    return logistic(scale(train), y, c).decision_function(scale(test))


def on_ngrams(train, y, test):
    weigh = TfidfTransformer().fit(train)
    return logistic(weigh.transform(train), y, 1).decision_function(weigh.transform(test))


def on_trees(train, y, test):
    trees = HistGradientBoostingClassifier(max_iter=80, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=20, l2_regularization=5)
    return logit(trees.fit(train, y).predict_proba(test)[:, 1])


def apgr(score, weak, strong, weights=None):
    """Exact curve by falling score; tied blocks are straight lines."""
    weights = np.ones(len(score)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)
    share = np.concatenate([[0], np.cumsum(weights[order])[ends]]) / weights.sum()
    gained = np.concatenate([[0], np.cumsum((weights * (strong - weak))[order])[ends]])
    return np.trapezoid(gained, share) / gained[-1]


def cpt(score, weak, strong, recovered):
    gained = np.cumsum((strong - weak)[np.argsort(-score, kind="stable")])
    return (np.argmax(gained >= recovered * gained[-1]) + 1) / len(score)


class Gsm8k:
    """The pair's replies side by side, and ZeroEval's weaker models on the same questions."""

    def __init__(self, data):
        rows = read(f"{data}/routellm.parquet")
        side = lambda model: rows[rows.model == model].sort_values("split_key").reset_index(drop=True)
        self.weak, self.strong = side(WEAK), side(STRONG)
        assert (self.weak.split_key == self.strong.split_key).all()
        self.y, self.y_strong = self.weak.score.values, self.strong.score.values
        self.table = sign_table(self.weak)
        self.signs = self.table.values
        self.shape = self.table[SHAPE.split()].values
        self.q_signs = self.table[["question_words", "question_sentences", "given", "suggested"]].values
        self.q_ngrams, self.ngrams = ngrams(self.weak.prompt), ngrams(self.weak.response)
        others = read(f"{data}/zeroeval.parquet")
        others = others[others.subset == "gsm"]
        place = others.split_key.map({key: at for at, key in enumerate(self.weak.split_key)})
        self.others = others[place.notna()].assign(place=place.dropna().astype(int)).reset_index(drop=True)
        # Which models are weak is read off the train rows.
        self.level = self.others[self.others.split == "train"].groupby("model").score.mean()
        self.others = self.others[self.others.model.isin(self.level.index[self.level < 0.9])].reset_index(drop=True)
        self.other_signs = sign_table(self.others, self.table.columns).values
        second = self.others[self.others.model.str.contains("Mixtral")]
        concluded = {place: concluded_number(text)[0] for place, text in zip(second.place, second.response)}
        first = [concluded_number(text)[0] for text in self.weak.response]
        pairs = [(number, concluded.get(at)) for at, number in enumerate(first)]
        self.agreement = np.array([np.nan if None in pair else float(abs(pair[0] - pair[1]) < 1e-6) for pair in pairs])

    def views(self, a, b):
        """Logits on rows `b` of views fitted on rows `a`."""
        asked = lambda y: (on_ngrams(self.q_ngrams[a], y[a], self.q_ngrams[b]) + on_figures(self.q_signs[a], y[a], self.q_signs[b])) / 2
        rows = np.isin(self.others.place, a)
        level = lambda models: logit(models.map(self.level).values)[:, None]
        known = np.hstack([self.other_signs[rows], level(self.others.model[rows])])
        mine = np.hstack([self.signs, np.full((len(self.y), 1), logit(self.y[a].mean()))])
        known, y = np.vstack([known, mine[a]]), np.concatenate([self.others.score[rows], self.y[a]])
        return {
            "question": asked(self.y),
            "strong": asked(self.y_strong),
            "shape": on_trees(self.shape[a], self.y[a], self.shape[b]),
            "signs": on_figures(self.signs[a], self.y[a], self.signs[b]),
            "ngrams": on_ngrams(self.ngrams[a], self.y[a], self.ngrams[b]),
            "others": on_figures(known, y, mine[b], 0.03),
        }

    def methods(self, a, b):
        """Scores by which to escalate rows `b`, fitted on rows `a`."""
        inside, out = fold_of(self.weak.split_key[a], 4, 100), {}
        for fold in range(4):
            for name, logits in self.views(a[inside != fold], a[inside == fold]).items():
                out.setdefault(name, np.zeros(len(a)))[inside == fold] = logits
        seen = self.views(a, b)
        stack = lambda names, y: (lambda pick: logistic(pick(out), y[a], 1).predict_proba(pick(seen))[:, 1])(lambda v: np.stack([v[n] for n in names], 1))
        strong = stack(["strong"], self.y_strong)
        own, pooled = stack(["signs", "ngrams"], self.y), stack(["signs", "others", "ngrams"], self.y)
        agreement = lambda rows: np.stack([np.nan_to_num(self.agreement[rows] - 0.6), np.isnan(self.agreement[rows])], 1)
        pick = lambda v, rows: np.hstack([np.stack([v["signs"], v["ngrams"]], 1), agreement(rows)])
        agreeing = logistic(pick(out, a), self.y[a], 1).predict_proba(pick(seen, b))[:, 1]
        self.forecast_strong = strong
        return {
            "prompt length": self.table["question_words"].values[b],
            "question": strong - stack(["question"], self.y),
            "plain: shape, n-grams, question": -(seen["shape"] + seen["ngrams"] + seen["question"]) / 3,
            "reply: n-grams": -seen["ngrams"],
            "reply: signs": -seen["signs"],
            "reply: signs and n-grams": -own,
            "same, gain": strong - own,
            "with ZeroEval's replies": -pooled,
            "with ZeroEval's replies, gain": strong - pooled,
            "signs, n-grams, a second reply": -agreeing,
        }

    def rust(self, binary, a, b):
        """The Rust head on the same rows: the pair alone, and with ZeroEval's replies as further tiers."""
        set_b, set_a, base = set(b), set(a), float(self.y[a].mean())
        # No validation rows: Platt scaling changes no order.
        split = lambda at: "test" if at in set_b else "train"
        mine = [
            dict(split=split(at), tier=0, key=r.split_key, question=r.prompt, text=r.response, score=r.score, forecast=base)
            for at, r in self.weak.iterrows()
            if at in set_a or at in set_b
        ]
        tiers = {model: tier + 1 for tier, model in enumerate(sorted(self.others.model.unique()))}
        others = [
            dict(split=split(r.place), tier=tiers[r.model], key=r.split_key, question=r.prompt, text=r.response, score=r.score, forecast=self.level[r.model])
            for r in self.others.itertuples()
            if r.place in set_a
        ]
        second = [dict(row, agreement=agreement) if np.isfinite(agreement) else row for row, agreement in zip(mine, self.agreement[sorted(set_a | set_b)])]
        alone, pooled, agreeing = (estimates(binary, rows) for rows in (mine, mine + others, second))
        return {
            "Rust head": -alone,
            "Rust head, gain": self.forecast_strong - alone,
            "Rust head with ZeroEval's replies": -pooled,
            "Rust head with ZeroEval's replies, gain": self.forecast_strong - pooled,
            "Rust head, a second reply": -agreeing,
        }


def estimates(binary, rows):
    """Of the test rows, in their order."""
    lines = "".join(json.dumps(row, default=float) + "\n" for row in rows)
    done = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True)
    return np.array([float(line) for line in done.stdout.split()])


def fold_scores(task, rows, seed, binary):
    folds, found = fold_of(task.weak.split_key[rows], 5, seed), {}
    for fold in range(5):
        a, b = rows[folds != fold], rows[folds == fold]
        methods = task.methods(a, b) | (task.rust(binary, a, b) if binary else {})
        for name, scores in methods.items():
            found.setdefault(name, np.zeros(len(rows)))[folds == fold] = scores
    return found


def print_apgr(task, rows, found, baseline="plain: shape, n-grams, question"):
    weak, strong, rng = task.y[rows], task.y_strong[rows], np.random.default_rng(0)
    draws = [rng.multinomial(len(rows), np.ones(len(rows)) / len(rows)) for _ in range(1000)]
    of = {name: np.array([apgr(scores, weak, strong, w) for w in draws]) for name, scores in found.items()}
    print(f"n {len(rows)}, weak {weak.mean():.4f}, strong {strong.mean():.4f}")
    print("| method | APGR | minus plain | CPT50 / CPT80 | AUC of right |\n| --- | --- | --- | --- | --- |")
    interval = lambda values: "[{:.3f}, {:.3f}]".format(*np.percentile(values, [2.5, 97.5]))
    for name, scores in found.items():
        less = apgr(scores, weak, strong) - apgr(found[baseline], weak, strong)
        difference = f"{less:+.3f} {interval(of[name] - of[baseline])}"
        shares = f"{100 * cpt(scores, weak, strong, 0.5):.1f} / {100 * cpt(scores, weak, strong, 0.8):.1f}"
        print(f"| {name} | {apgr(scores, weak, strong):.4f} {interval(of[name])} | {difference} | {shares} | {roc_auc_score(weak, -scores):.3f} |", flush=True)


def gsm8k(options):
    task = Gsm8k(options.data)
    split = task.weak.split.values
    if options.inner:
        rows = np.nonzero(split == "train")[0]
        runs = [fold_scores(task, rows, seed, options.head) for seed in range(3)]
        for name in runs[0]:
            values = [apgr(run[name], task.y[rows], task.y_strong[rows]) for run in runs]
            print(f"{name}: APGR {np.mean(values):.4f} ({', '.join(f'{v:.3f}' for v in values)})", flush=True)
        return
    rows = np.arange(len(split))
    print("\nFive folds over all rows")
    print_apgr(task, rows, fold_scores(task, rows, 0, options.head))
    print("\nTrain to test")
    a, b = np.nonzero(split == "train")[0], np.nonzero(split == "test")[0]
    print_apgr(task, b, task.methods(a, b) | (task.rust(options.head, a, b) if options.head else {}))


def right(options):
    for name, model in CHEAP:
        rows = read(f"{options.data}/{name}.parquet", [model])
        rows = rows[rows.split == "train"].reset_index(drop=True)
        table = sign_table(rows)
        question = table[[c for c in table if c.startswith("question") or c in ("given", "suggested", "options")]].values
        y, q_ngrams, a_ngrams = (rows.score.values > 0.5).astype(float), ngrams(rows.prompt), ngrams(rows.response)
        strength = 0.01 if len(y) < 2000 else 0.05

        def views(a, b):
            asked = [on_ngrams(q_ngrams[a], y[a], q_ngrams[b]), on_figures(question[a], y[a], question[b], strength)]
            return np.stack([*asked, on_figures(table.values[a], y[a], table.values[b], strength), on_ngrams(a_ngrams[a], y[a], a_ngrams[b])], 1)

        folds, found = fold_of(rows.split_key, 5, 0), {}
        for fold in range(5):
            a, b = np.nonzero(folds != fold)[0], np.nonzero(folds == fold)[0]
            inside, out = fold_of(rows.split_key[a], 4, 7), np.zeros((len(a), 4))
            for part in range(4):
                out[inside == part] = views(a[inside != part], a[inside == part])
            seen = views(a, b)
            stack = lambda columns: logistic(out[:, columns], y[a], 1).predict_proba(seen[:, columns])[:, 1]
            methods = {"question": stack([0, 1]), "signs": seen[:, 2], "reply n-grams": seen[:, 3], "question and reply": stack([0, 1, 2, 3])}
            if options.head:
                # The forecast of training rows is out of fold, as the head wants it.
                forecast = np.zeros(len(y))
                forecast[b] = methods["question"]
                forecast[a] = sigmoid(out[:, :2].mean(1))
                split = np.where(folds == fold, "test", np.where(fold_of(rows.split_key, 8, 200) == 0, "validation", "train"))
                lines = [
                    dict(split=split[at], tier=0, key=r.split_key, question=r.prompt, text=r.response, score=r.score, forecast=forecast[at])
                    for at, r in rows.iterrows()
                ]
                methods["Rust head"] = estimates(options.head, lines)
            for method, scores in methods.items():
                found.setdefault(method, np.zeros(len(y)))[b] = scores
        print_auc(name, model, y, found)


def print_auc(name, model, y, found):
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(500)]
    of = {method: np.array([roc_auc_score(y[d], scores[d]) for d in draws]) for method, scores in found.items()}
    interval = lambda values: "[{:.3f}, {:.3f}]".format(*np.percentile(values, [2.5, 97.5]))
    parts = [f"{method} {roc_auc_score(y, scores):.3f} {interval(of[method])}" for method, scores in found.items()]
    parts += [f"{method} minus question {np.mean(of[method] - of['question']):+.3f} {interval(of[method] - of['question'])}" for method in list(found)[3:]]
    print(f"{name}, {model}, n {len(y)}, right {y.mean():.3f}: " + "; ".join(parts), flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["gsm8k", "right"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--head")
    given = parser.parse_args()
    {"gsm8k": gsm8k, "right": right}[given.task](given)
