"""Batch work against scikit-learn on the same machine, in one run: features of texts, and training.

    python -m venv VENV && VENV/bin/pip install -r evals/speed/requirements.txt
    cargo build --release && cargo build --release -p tiercast --example featurise
    VENV/bin/python evals/speed/bench.py --texts ../shared/data/mmlu_pro.parquet

Engines take turns; medians over rounds are printed, and medians of the ratios of a round, which a busy
machine disturbs less. A row of the output is a row of `README.md`.

Texts: ours makes surface signals, WordPieces, a static embedding and hashed n-grams. scikit-learn makes
words, pairs of words and four characters within words, by hashing, and as TF-IDF with `fit_transform`.

Training: `tiercast train` from cached features, which fits five members and the networks without a
fold each, the tables, the pool and the calibration, divided by its epochs in `curves.json`; against an
epoch of scikit-learn's MLPRegressor of the same width, batch and rows on the same features (scores of
five tiers by squared error: it has no distributions, lengths or tasks, so less to do).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--texts", type=Path, help="outcome file with a `prompt` column")
    arguments.add_argument("--prompts", type=int, default=3000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--train-rounds", type=int, default=2)
    options = arguments.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run\n")
    if options.texts:
        texts_table(options)
    if options.train_rounds:
        training_table(options.train_rounds)
    print(f"\nload {os.getloadavg()[0]:.1f} after the run")


def texts_table(options):
    import pyarrow.parquet as parquet
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_union

    column = parquet.read_table(options.texts, columns=["prompt_id", "prompt"]).to_pydict()
    texts = list(dict(zip(column["prompt_id"], column["prompt"])).values())[: options.prompts]

    def both(kind):
        return make_union(kind(ngram_range=(1, 2)), kind(analyzer="char_wb", ngram_range=(4, 4)))

    engines = {
        "tiercast, 1 core": lambda: ours(options, 1),
        "tiercast, 2 cores": lambda: ours(options, 2),
        "scikit-learn HashingVectorizer, 1 core": lambda: timed(lambda: both(HashingVectorizer).transform(texts)),
        "scikit-learn TfidfVectorizer, 1 core": lambda: timed(lambda: both(TfidfVectorizer).fit_transform(texts)),
    }
    rounds = [{name: run() for name, run in engines.items()} for _ in range(options.rounds)]
    print(f"| features of {len(texts)} prompts | prompts/s | times tiercast on 1 core |\n| --- | ---: | ---: |")
    for name in engines:
        seconds = statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times["tiercast, 1 core"] / times[name] for times in rounds)
        print(f"| {name} | {len(texts) / seconds:.0f} | {ratio:.2f} |")


def ours(options, n_threads):
    binary = ROOT / "target/release/examples/featurise"
    command = [binary, options.texts, options.prompts, n_threads, 5]
    said = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    return statistics.median(map(float, said.split()))


def timed(run):
    start = time.monotonic()
    run()
    return time.monotonic() - start


def training_table(n_rounds):
    inputs, targets = mlp_rows()
    print(f"\n| training on {len(targets)} prompts x 5 tiers | s in all | epochs | s per epoch |")
    print("| --- | ---: | ---: | ---: |")
    engines = {"tiercast train, 2 cores": our_training, "scikit-learn MLPRegressor": lambda: mlp_training(inputs, targets)}
    rounds = [{name: run() for name, run in engines.items()} for _ in range(n_rounds)]
    for name in engines:
        seconds = statistics.median(times[name][0] for times in rounds)
        epochs = rounds[0][name][1]
        print(f"| {name} | {seconds:.1f} | {epochs} | {seconds / epochs:.3f} |")
    per_epoch = [[seconds / epochs for seconds, epochs in times.values()] for times in rounds]
    print(f"\nepoch of tiercast / epoch of scikit-learn: {statistics.median(a / b for a, b in per_epoch):.2f}")


def our_training():
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "checkpoint"
        data = ROOT / "datasets/reference/mmlu_pro.parquet"
        command = list(map(str, [ROOT / "target/release/tiercast", "train", "--outcomes", data, "--out", out]))
        seconds = timed(lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT))
        return seconds, len(json.loads((out / "curves.json").read_text()))


def mlp_training(inputs, targets, n_epochs=6):
    from sklearn.neural_network import MLPRegressor

    # Two branches of 96 hidden units are one layer of 192.
    network = MLPRegressor(hidden_layer_sizes=(192,), batch_size=128, learning_rate_init=5e-4, max_iter=n_epochs, tol=0.0, random_state=0)
    return timed(lambda: network.fit(inputs, targets)), n_epochs


def mlp_rows():
    """Surface signals, embedding and the 4,096 most frequent n-grams of the training rows; mean scores."""
    import numpy as np
    import pyarrow.parquet as parquet
    from scipy import sparse

    outcomes = parquet.read_table(ROOT / "datasets/reference/mmlu_pro.parquet").to_pylist()
    tiers = sorted({row["model"] for row in outcomes})
    scores = {}
    for row in outcomes:
        if row["split"] == "train":
            scores.setdefault(row["prompt_id"], np.full(len(tiers), 0.5))[tiers.index(row["model"])] = row["score"]
    features = parquet.read_table(ROOT / "datasets/reference/features.parquet").to_pylist()
    features = [row for row in features if row["prompt_id"] in scores]
    surface = np.array([row["surface"] for row in features])
    scale = surface.std(0)
    surface = (surface - surface.mean(0)) / np.where(scale > 0, scale, 1)
    embedding = np.array([row["embedding"] for row in features]) / 16
    hashes, counts = (["word_hash", "char_hash"], ["word_count", "char_count"])
    join = lambda row, names: [value for name in names for value in row[name]]
    bags = [dict(zip(join(row, hashes), join(row, counts))) for row in features]
    frequency = Counter(ngram for bag in bags for ngram in bag)
    known = {ngram: at for at, (ngram, _) in enumerate(frequency.most_common(4096))}
    cells = [(at, known[ngram], 1 + np.log(n)) for at, bag in enumerate(bags) for ngram, n in bag.items() if ngram in known]
    rows, columns, values = zip(*cells)
    ngrams = sparse.csr_matrix((values, (rows, columns)), shape=(len(features), len(known)))
    inputs = sparse.hstack([sparse.csr_matrix(np.hstack([surface, embedding])), ngrams], format="csr")
    return inputs.astype(np.float32), np.array([scores[row["prompt_id"]] for row in features])


if __name__ == "__main__":
    sys.exit(main())
