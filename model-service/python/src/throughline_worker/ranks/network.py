"""The perceptron and its optimizer in JAX: the arithmetic of `model-service/src/candle/fit.rs`.

All weights are one vector, so that one all-reduce carries the whole gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from throughline_worker.ranks.plan import Layer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

# Weights, inputs, classes, weights of the rows: the gradient, then the loss, then what is right.
Contribution = Callable[[jax.Array, ArrayLike, ArrayLike, ArrayLike], jax.Array]


def flat(layers: list[Layer]) -> NDArray[np.float32]:
    """The layers as one vector."""
    parts = [part.ravel() for layer in layers for part in (layer.weight, layer.bias)]
    return np.concatenate(parts).astype(np.float32)


def layers(vector: NDArray[np.float32], like: list[Layer]) -> list[Layer]:
    """The reverse of `flat`."""
    found, begin = [], 0
    for layer in like:
        middle, end = begin + layer.weight.size, begin + layer.weight.size + layer.bias.size
        weight = vector[begin:middle].reshape(layer.weight.shape)
        found.append(Layer(weight, vector[middle:end]))
        begin = end
    return found


def contribution(like: list[Layer]) -> Contribution:
    """A rank's part of the gradient of a mini batch and of its mean loss; parts are added."""

    def loss(
        vector: jax.Array, inputs: jax.Array, classes: jax.Array, weights: jax.Array
    ) -> jax.Array:
        logits = _forward(vector, like, inputs)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), classes[:, None], axis=1)[:, 0]
        return -(chosen * weights).sum()

    def both(
        vector: jax.Array, inputs: jax.Array, classes: jax.Array, weights: jax.Array
    ) -> jax.Array:
        value, gradient = jax.value_and_grad(loss)(vector, inputs, classes, weights)
        return jnp.append(gradient, value)

    return jax.jit(both)


def correct(like: list[Layer]) -> Callable[[jax.Array, ArrayLike, ArrayLike], jax.Array]:
    """How many rows are classified correctly, as a vector of one number."""

    def count(vector: jax.Array, inputs: jax.Array, classes: jax.Array) -> jax.Array:
        right = _forward(vector, like, inputs).argmax(axis=1) == classes
        return right.sum().astype(jnp.float32)[None]

    return jax.jit(count)


class AdamW:
    """Adam with decoupled weight decay, in the order of candle's operations."""

    def __init__(self, start: NDArray[np.float32], weight_decay: float) -> None:
        self.vector: jax.Array = jnp.asarray(start)
        self._moments = (jnp.zeros_like(self.vector), jnp.zeros_like(self.vector))
        self._decay = weight_decay
        self._steps = 0

    def step(self, gradient: jax.Array, learning_rate: float) -> float:
        """One step; returns the length of the gradient."""
        self._steps += 1
        scale1 = 1.0 / (1.0 - BETA1**self._steps)
        scale2 = 1.0 / (1.0 - BETA2**self._steps)
        keep = 1.0 - learning_rate * self._decay
        self.vector, self._moments, norm = _step(
            self.vector, self._moments, gradient, (learning_rate, keep, scale1, scale2)
        )
        return float(norm)


@jax.jit
def _step(
    vector: jax.Array,
    moments: tuple[jax.Array, jax.Array],
    gradient: jax.Array,
    factors: tuple[float, float, float, float],
) -> tuple[jax.Array, tuple[jax.Array, jax.Array], jax.Array]:
    learning_rate, keep, scale1, scale2 = factors
    first = moments[0] * BETA1 + gradient * (1.0 - BETA1)
    second = moments[1] * BETA2 + jnp.square(gradient) * (1.0 - BETA2)
    change = first * scale1 / (jnp.sqrt(second * scale2) + EPSILON) * learning_rate
    norm = jnp.sqrt(jnp.square(gradient).sum())
    return vector * keep - change, (first, second), norm


def _forward(vector: jax.Array, like: list[Layer], inputs: jax.Array) -> jax.Array:
    values, begin = inputs, 0
    for index, layer in enumerate(like):
        middle, end = begin + layer.weight.size, begin + layer.weight.size + layer.bias.size
        weight = vector[begin:middle].reshape(layer.weight.shape)
        values = values @ weight.T + vector[middle:end]
        if index + 1 < len(like):
            values = jax.nn.relu(values)
        begin = end
    return values
