"""Compares our encoder with ONNX Runtime: the same weights, texts and number of threads, in one run.

    pip install onnx onnxruntime safetensors tokenizers numpy
    python3 bench/encoder.py DIR [--threads N] [--runs N]

DIR is a Hugging Face folder of a BERT sentence encoder. The graph for ONNX Runtime is made of the fused
operators that its own optimiser would put in: EmbedLayerNormalization, Attention, SkipLayerNormalization and
BiasGelu. Texts are tokenised before the clock starts on both sides, and runs alternate. A ratio above 1 means
that we are faster. The largest difference between the vectors of both is printed, too.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

import numpy
import onnx
import onnxruntime
import safetensors.numpy
import tokenizers
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = "the camera takes sharp pictures but its battery does not last a whole day of travel and support was slow".split()
# Name, and the words of each text.
SHAPES = {
    "one short text": [6],
    "one text of 62 tokens": [60],
    "8 texts of 16 tokens": [14] * 8,
    "32 texts of 32 tokens": [30] * 32,
    "8 texts of 128 tokens": [126] * 8,
    "32 mixed, 8 to 128 tokens": [6 + (step * 37) % 121 for step in range(32)],
}


def texts_of(lengths):
    """A text per length, each of other words."""
    return [" ".join(WORDS[(start + at) % len(WORDS)] for at in range(length)) for start, length in enumerate(lengths)]


def graph(config, weights):
    """The encoder up to the last hidden state, as an ONNX model in memory."""
    nodes, initializers = [], []

    def constant(name, value):
        initializers.append(numpy_helper.from_array(numpy.ascontiguousarray(value, numpy.float32), name))
        return name

    def node(operator, inputs, output, domain="com.microsoft", **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def norm(name):
        return [constant(f"{name}.weight", weights[f"{name}.weight"]), constant(f"{name}.bias", weights[f"{name}.bias"])]

    epsilon = config["layer_norm_eps"]
    tables = [f"embeddings.{table}_embeddings.weight" for table in ("word", "position", "token_type")]
    inputs = ["ids", "segments", *(constant(name, weights[name]) for name in tables), *norm("embeddings.LayerNorm"), "mask"]
    nodes.append(
        helper.make_node("EmbedLayerNormalization", inputs, ["x", "mask_index"], domain="com.microsoft", epsilon=epsilon)
    )
    x = "x"
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        parts = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = constant(f"{layer}.qkv", numpy.concatenate([weights[f"{part}.weight"].T for part in parts], axis=1))
        bias = constant(f"{layer}.qkv_bias", numpy.concatenate([weights[f"{part}.bias"] for part in parts]))
        heads = config["num_attention_heads"]
        attended = node("Attention", [x, weight, bias, "mask_index"], f"{layer}.attended", num_heads=heads)

        def product(of, name):
            return node("MatMul", [of, constant(f"{name}.transposed", weights[f"{name}.weight"].T)], f"{name}.product", domain="")

        def add_and_norm(of, skip, name):
            of = product(of, f"{name}.dense")
            bias = constant(f"{name}.dense.bias", weights[f"{name}.dense.bias"])
            inputs = [of, skip, *norm(f"{name}.LayerNorm"), bias]
            return node("SkipLayerNormalization", inputs, f"{name}.out", epsilon=epsilon)

        x = add_and_norm(attended, x, f"{layer}.attention.output")
        wide = product(x, f"{layer}.intermediate.dense")
        name = f"{layer}.intermediate.dense.bias"
        wide = node("BiasGelu", [wide, constant(name, weights[name])], f"{layer}.wide")
        x = add_and_norm(wide, x, f"{layer}.output")
    shape = ["batch", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name in ("ids", "segments", "mask")]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [*shape, config["hidden_size"]])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph(nodes, "encoder", inputs, outputs, initializers), opset_imports=opsets)
    model.ir_version = 8
    return model.SerializeToString()


class OnnxRuntime:
    """The other side of the comparison."""

    def __init__(self, folder, threads):
        config = json.loads((folder / "config.json").read_text())
        weights = safetensors.numpy.load_file(folder / "model.safetensors")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(graph(config, weights), options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(config["max_position_embeddings"])

    def inputs(self, texts):
        self.tokenizer.enable_padding(length=None)
        encoded = self.tokenizer.encode_batch(texts)
        ids = numpy.array([text.ids for text in encoded], numpy.int32)
        mask = numpy.array([text.attention_mask for text in encoded], numpy.int32)
        return {"ids": ids, "segments": numpy.zeros_like(ids), "mask": mask}

    def vectors(self, texts):
        inputs = self.inputs(texts)
        hidden = self.session.run(None, inputs)[0]
        mask = inputs["mask"][:, :, None]
        mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)

    def milliseconds(self, texts, runs):
        inputs = self.inputs(texts)
        times = []
        for _ in range(runs):
            begin = time.perf_counter()
            self.session.run(None, inputs)
            times.append((time.perf_counter() - begin) * 1e3)
        return min(times)


class Ours:
    """The example `embed` of the model service."""

    def __init__(self, folder, threads):
        command = ["cargo", "build", "--release", "--quiet", "-p", "model-service", "--example", "embed"]
        subprocess.run(command, cwd=ROOT, check=True)
        self.command = [str(ROOT / "target/release/examples/embed"), str(folder)]
        self.environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}

    def run(self, texts, *options):
        command = [*self.command, *options]
        run = subprocess.run(
            command, input="\n".join(texts), capture_output=True, text=True, check=True, env=self.environment
        )
        return run.stdout

    def vectors(self, texts):
        return numpy.array([json.loads(line) for line in self.run(texts).splitlines()])

    def milliseconds(self, texts, runs):
        return float(self.run(texts, "--time", str(runs)).split()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    folder = options.folder.resolve()
    theirs, ours = OnnxRuntime(folder, options.threads), Ours(folder, options.threads)
    print(f"threads {options.threads}, fastest of {options.runs} runs, median of 5 rounds; above 1 we are faster")
    for name, lengths in SHAPES.items():
        texts = texts_of(lengths)
        difference = numpy.abs(ours.vectors(texts) - theirs.vectors(texts)).max()
        rounds = [(theirs.milliseconds(texts, options.runs), ours.milliseconds(texts, options.runs)) for _ in range(5)]
        ratio = statistics.median(their / our for their, our in rounds)
        their, our = (statistics.median(side) for side in zip(*rounds))
        print(f"{name:28} ONNX Runtime {their:9.3f} ms  ours {our:9.3f} ms  ratio {ratio:5.2f}  difference {difference:.1e}")


if __name__ == "__main__":
    main()
