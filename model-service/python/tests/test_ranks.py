"""Distributed training: shards, plans, and real groups of processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import running
from numpy.typing import NDArray
from opentelemetry import baggage, trace

jax = pytest.importorskip("jax", reason="JAX needs Python 3.11")

from safetensors.numpy import load_file, save  # noqa: E402

from throughline_worker.ranks import carrier, network, plan  # noqa: E402
from throughline_worker.ranks.shard import shards  # noqa: E402

ROWS, INPUTS, CLASSES = 100, 5, 3
# The exit code of a rank that lost another one.
ALONE = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small plan: classes that the inputs decide."""
    random = np.random.default_rng(7)
    inputs = random.normal(size=(ROWS, INPUTS)).astype(np.float32)
    tensors: dict[str, NDArray[Any]] = {
        "inputs": inputs,
        "classes": inputs[:, :CLASSES].argmax(axis=1).astype(np.uint32),
        "order": np.stack([random.permutation(ROWS) for _ in range(40)]).astype(np.uint32),
    }
    for number, (before, after) in enumerate([(INPUTS, 8), (8, CLASSES)], start=1):
        weight = random.uniform(-0.4, 0.4, (after, before))
        tensors[f"linear_{number}.weight"] = weight.astype(np.float32)
        tensors[f"linear_{number}.bias"] = np.zeros(after, dtype=np.float32)
    (tmp_path / plan.TENSORS).write_bytes(save(tensors))
    fields = {
        "learning_rates": [0.02] * 40,
        "weight_decay": 0.1,
        "batch_size": 16,
        "span_every": 1,
    }
    (tmp_path / plan.PLAN).write_text(json.dumps(fields))
    return tmp_path


def command(folder: Path, rank: int, ranks: int, address: str, *more: str) -> list[str]:
    """One rank as the launcher starts it."""
    here = ["--rank", str(rank), "--ranks", str(ranks), "--coordinator", address, "--bind", address]
    module = [sys.executable, "-m", "throughline_worker.ranks"]
    return [*module, "--plan", str(folder), *here, *more]


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def train(folder: Path, ranks: int) -> tuple[dict[str, NDArray[np.float32]], list[dict[str, Any]]]:
    """Trains with real processes; the weights, and the epochs that rank 0 reported."""
    address = free_address()
    with ExitStack() as stack:
        group = [
            stack.enter_context(running(command(folder, rank, ranks, address)))
            for rank in range(ranks)
        ]
        assert [process.wait() for process in group] == [0] * ranks, group[0].lines
        epochs = [record for record in group[0].records() if "epoch" in record]
    return load_file(folder / plan.WEIGHTS), epochs


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_the_shards_of_all_ranks_are_the_mini_batch(ranks: int) -> None:
    order = np.random.default_rng(1).permutation(ROWS).astype(np.uint32)
    by_rank = [list(shards(order, 16, rank, ranks)) for rank in range(ranks)]
    for number, of_batch in enumerate(zip(*by_rank, strict=True)):
        batch = order[number * 16 : (number + 1) * 16]
        found = np.concatenate([shard.rows[shard.weights > 0] for shard in of_batch])
        assert sorted(found) == sorted(batch)
        assert sum(shard.weights.sum() for shard in of_batch) == pytest.approx(1.0)
        assert len({len(shard.rows) for shard in of_batch}) == 1, "one shape, one program"


def test_the_context_comes_from_the_variables_of_the_specification() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    found = carrier.extract(
        {
            "TRACEPARENT": f"00-{trace_id}-00f067aa0ba902b7-01",
            "TRACESTATE": "vendor=1",
            "BAGGAGE": "user.id=7",
            "traceparent": "ignored",
        }
    )
    ids = trace.get_current_span(found).get_span_context()
    assert trace.format_trace_id(ids.trace_id) == trace_id
    assert ids.is_remote
    assert ids.trace_state.get("vendor") == "1"
    assert baggage.get_baggage("user.id", found) == "7"
    assert not trace.get_current_span(carrier.extract({})).get_span_context().is_valid


def test_the_optimizer_decays_the_weights_apart_from_the_gradient() -> None:
    """One step by hand: AdamW's first step is the sign of the gradient."""
    optimizer = network.AdamW(np.array([1.0, -2.0], dtype=np.float32), 0.1)
    norm = optimizer.step(jax.numpy.array([3.0, -4.0]), 0.01)
    assert norm == pytest.approx(5.0)
    expected = [1.0 * 0.999 - 0.01, -2.0 * 0.999 + 0.01]
    assert np.asarray(optimizer.vector) == pytest.approx(expected, abs=1e-6)


def test_a_folder_without_a_plan_is_refused(folder: Path) -> None:
    assert plan.read(folder).epochs == 40
    (folder / plan.PLAN).write_text('{"learning_rates": [0.1]}')
    with pytest.raises(plan.PlanError, match="no plan"):
        plan.read(folder)
    fields = {"learning_rates": [0.1], "weight_decay": 0, "batch_size": 1, "span_every": 1}
    (folder / plan.PLAN).write_text(json.dumps(fields))
    with pytest.raises(plan.PlanError, match="100 rows and 1 epochs"):
        plan.read(folder)
    (folder / plan.TENSORS).write_bytes(b"")
    with pytest.raises(plan.PlanError, match="no plan"):
        plan.read(folder)


def test_two_processes_learn_what_one_learns(folder: Path) -> None:
    alone, epochs = train(folder, 1)
    together, of_two = train(folder, 2)
    assert together.keys() == alone.keys()
    for name, weights in alone.items():
        np.testing.assert_allclose(together[name], weights, atol=1e-5)
    assert [epoch["epoch"] for epoch in of_two] == list(range(1, 41))
    for one, two in zip(epochs, of_two, strict=True):
        for figure in ("loss", "gradient_norm", "accuracy"):
            assert two[figure] == pytest.approx(one[figure], abs=1e-4)
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 2
    assert all(epoch["all_reduce_seconds"] > 0 for epoch in of_two)


def test_a_rank_that_loses_another_one_ends_and_writes_nothing(folder: Path) -> None:
    address = free_address()
    slow = "--slow", "20"
    with (
        running(command(folder, 0, 2, address, *slow)) as first,
        running(command(folder, 1, 2, address, *slow)) as second,
    ):
        second.line(lambda record: "epoch" in record)
        os.kill(second.pid, signal.SIGKILL)
        assert first.wait() == ALONE, "\n".join(first.lines[-5:])
        failed = first.event("ml.training.rank_failed")
        assert "rank 0 of 2" in failed["message"]
    assert not (folder / plan.WEIGHTS).exists()


def test_a_rank_ends_with_its_launcher(folder: Path) -> None:
    more = "--slow", "200", "--exit-with-parent"
    with running(command(folder, 0, 1, free_address(), *more)) as process:
        process.line(lambda record: "step" in record)
        process.close_stdin()
        assert process.wait() == 130
