"""The plan of a training, which the Rust trainer wrote and every rank reads.

It has the rows of the training part as the network takes them, their order in each epoch, and the
start weights. So the ranks learn on the split, the seed and the start of the Rust trainer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

PLAN = "plan.json"
TENSORS = "plan.safetensors"
WEIGHTS = "weights.safetensors"


class PlanError(ValueError):
    """A folder without a plan, or a plan that contradicts itself."""


@dataclass(frozen=True)
class Layer:
    """A linear layer: weight [outputs, inputs] and bias [outputs]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """What every rank needs to know; all of it is the same on every rank."""

    # [rows, inputs] and [rows].
    inputs: NDArray[np.float32]
    classes: NDArray[np.uint32]
    # The order of the rows in each epoch, [epochs, rows].
    order: NDArray[np.uint32]
    start: list[Layer]
    # The learning rate of each epoch.
    learning_rates: list[float]
    weight_decay: float
    batch_size: int
    # An epoch has a span if its number can be divided by this.
    span_every: int

    @property
    def epochs(self) -> int:
        """Passes over the rows."""
        return len(self.learning_rates)


def read(folder: Path) -> Plan:
    """Reads the plan; raises `OSError` and `PlanError`."""
    try:
        fields: dict[str, Any] = json.loads((folder / PLAN).read_bytes())
        tensors = load((folder / TENSORS).read_bytes())
        plan = Plan(
            inputs=tensors["inputs"],
            classes=tensors["classes"],
            order=tensors["order"],
            start=_layers(tensors),
            learning_rates=[float(rate) for rate in fields["learning_rates"]],
            weight_decay=float(fields["weight_decay"]),
            batch_size=int(fields["batch_size"]),
            span_every=int(fields["span_every"]),
        )
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise PlanError(f"{folder} has no plan of a training: {error!r}") from error
    _check(plan)
    return plan


def write_weights(folder: Path, layers: list[Layer]) -> None:
    """Writes the trained weights under a hidden name, then renames: never a part of a file."""
    tensors = {}
    for number, layer in enumerate(layers, start=1):
        tensors[f"linear_{number}.weight"] = np.ascontiguousarray(layer.weight)
        tensors[f"linear_{number}.bias"] = np.ascontiguousarray(layer.bias)
    hidden = folder / f".{WEIGHTS}"
    hidden.write_bytes(save(tensors))
    hidden.rename(folder / WEIGHTS)


def _layers(tensors: dict[str, NDArray[Any]]) -> list[Layer]:
    layers: list[Layer] = []
    while f"linear_{len(layers) + 1}.weight" in tensors:
        name = f"linear_{len(layers) + 1}"
        layers.append(Layer(tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
    return layers


def _check(plan: Plan) -> None:
    rows = len(plan.inputs)
    widths = [plan.inputs.shape[1], *(len(layer.bias) for layer in plan.start)]
    shapes = [layer.weight.shape for layer in plan.start]
    if shapes != [(after, before) for before, after in pairwise(widths)]:
        raise PlanError(f"the layers {shapes} do not follow one another from {widths[0]} inputs")
    if not shapes or len(plan.classes) != rows or plan.order.shape != (plan.epochs, rows):
        raise PlanError(f"classes or order do not fit {rows} rows and {plan.epochs} epochs")
    if plan.order.size == 0 or plan.order.max() >= rows or plan.classes.max() >= widths[-1]:
        raise PlanError("the order or a class names something that is not there")
    if plan.batch_size < 1 or plan.span_every < 1:
        raise PlanError("the batch size and the distance of spans are at least 1")
