"""What one rank does: it learns on its shard of every mini batch, and reports every epoch."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial

import jax
import numpy as np

from throughline_worker import telemetry
from throughline_worker.ranks import network
from throughline_worker.ranks.group import AloneError, Group, Member
from throughline_worker.ranks.plan import Layer, Plan
from throughline_worker.ranks.shard import Shard, shards

# How often a rank says that it lives.
ALIVE_SECONDS = 1.0


@dataclass(frozen=True)
class Epoch:
    """Progress after an epoch, as the launcher reads it from standard output.

    Loss, gradient and accuracy are of all ranks together, the rest is of this one.
    """

    rank: int
    epoch: int
    loss: float
    gradient_norm: float
    accuracy: float
    rows_per_second: float
    compute_seconds: float
    all_reduce_seconds: float


@dataclass
class _Clock:
    """Where the time of an epoch went."""

    compute: float = 0.0
    all_reduce: float = 0.0


class Rank:
    """One rank of a training."""

    def __init__(self, plan: Plan, member: Member, group: Group, slow_seconds: float = 0.0) -> None:
        self._plan, self._member, self._group = plan, member, group
        self._slow = slow_seconds
        # All-reduces begun, read by the thread that reports that this process lives.
        self.step = 0
        self._contribution = network.contribution(plan.start)
        self._correct = network.correct(plan.start)
        self._optimizer = network.AdamW(network.flat(plan.start), plan.weight_decay)

    def run(self, on_epoch: Callable[[Epoch], None]) -> list[Layer]:
        """Trains to the end; every rank then has the same weights."""
        self._compile()
        for number in range(1, self._plan.epochs + 1):
            has_span = number % self._plan.span_every == 0
            attributes = {
                telemetry.ML_TRAINING_EPOCH: number,
                telemetry.ML_TRAINING_RANK: self._member.rank,
            }
            with telemetry.span("epoch", attributes) if has_span else nullcontext() as span:
                try:
                    epoch = self._epoch(number)
                except AloneError as error:
                    if span:
                        telemetry.fail(span, error, "rank_lost")
                    raise
                if span:
                    span.set_attributes(_attributes(epoch))
            on_epoch(epoch)
        return network.layers(np.asarray(self._optimizer.vector), self._plan.start)

    def _compile(self) -> None:
        """Makes some steps and forgets them, so that no epoch has the time of the compiler in it.

        Two, because the first step's weights come from this process and the second one's from an
        all-reduce, for which JAX compiles again.
        """
        plan, member = self._plan, self._member
        shard = next(shards(plan.order[0], plan.batch_size, member.rank, member.ranks))
        start = self._optimizer
        self._optimizer = network.AdamW(network.flat(plan.start), plan.weight_decay)
        for _ in range(2):
            self._together(_Clock(), self._right)
            self._step(_Clock(), shard, 0.0)
        self._together(_Clock(), self._right)
        self._optimizer, self.step = start, 0

    def _step(self, clock: _Clock, shard: Shard, learning_rate: float) -> tuple[float, float]:
        """One step; returns loss and length of the gradient."""
        total = self._together(clock, partial(self._own, shard))
        return float(total[-1]), self._optimizer.step(total[:-1], learning_rate)

    def _epoch(self, number: int) -> Epoch:
        plan, member = self._plan, self._member
        clock, begin, rows = _Clock(), time.perf_counter(), 0
        loss = norm = batches = 0.0
        for shard in shards(plan.order[number - 1], plan.batch_size, member.rank, member.ranks):
            of_batch = self._step(clock, shard, plan.learning_rates[number - 1])
            loss, norm, batches = loss + of_batch[0], norm + of_batch[1], batches + 1
            rows += int(np.count_nonzero(shard.weights))
        seconds = max(time.perf_counter() - begin, 1e-9)
        right = self._together(clock, self._right)
        return Epoch(
            rank=member.rank,
            epoch=number,
            loss=loss / batches,
            gradient_norm=norm / batches,
            accuracy=float(right[0]) / len(plan.inputs),
            rows_per_second=rows / seconds,
            compute_seconds=clock.compute,
            all_reduce_seconds=clock.all_reduce,
        )

    def _own(self, shard: Shard) -> jax.Array:
        if self._slow:
            time.sleep(self._slow)
        inputs, classes = self._plan.inputs[shard.rows], self._plan.classes[shard.rows]
        return self._contribution(self._optimizer.vector, inputs, classes, shard.weights)

    def _right(self) -> jax.Array:
        own = slice(self._member.rank, None, self._member.ranks)
        return self._correct(
            self._optimizer.vector, self._plan.inputs[own], self._plan.classes[own]
        )

    def _together(self, clock: _Clock, compute: Callable[[], jax.Array]) -> jax.Array:
        """The sum over all ranks of what each computes."""
        begin = time.perf_counter()
        own = compute().block_until_ready()
        computed = time.perf_counter()
        self.step += 1
        total = self._group.all_reduce(own)
        clock.compute += computed - begin
        clock.all_reduce += time.perf_counter() - computed
        return total


def report(epoch: Epoch) -> None:
    """Tells the launcher that an epoch has ended."""
    _tell(asdict(epoch))


def report_life(rank: Rank) -> None:
    """Tells the launcher every second that this process lives, also in the middle of a wait."""

    def forever() -> None:
        while True:
            _tell({"step": rank.step})
            time.sleep(ALIVE_SECONDS)

    threading.Thread(target=forever, daemon=True).start()


def _tell(fields: Mapping[str, float]) -> None:
    # One write, because threads write at the same time.
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _attributes(epoch: Epoch) -> dict[str, float]:
    return {
        telemetry.ML_TRAINING_LOSS: epoch.loss,
        telemetry.ML_TRAINING_GRADIENT_NORM: epoch.gradient_norm,
        telemetry.ML_TRAINING_ACCURACY: epoch.accuracy,
        telemetry.ML_TRAINING_ROWS_PER_SECOND: epoch.rows_per_second,
        telemetry.ML_TRAINING_COMPUTE_DURATION: epoch.compute_seconds,
        telemetry.ML_TRAINING_ALL_REDUCE_DURATION: epoch.all_reduce_seconds,
    }
