"""The ranks as one group: `jax.distributed`, and sums over all of them by gloo."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# Seconds to wait for all ranks, for a sign of life of each, and for all to leave. JAX's defaults
# are minutes.
MEET_SECONDS = 60
HEARTBEAT_SECONDS = 20
LEAVE_SECONDS = 10
# The most that rank 0 can pass to the others: a trace context; longer baggage is not passed.
TEXT_BYTES = 2048


class AloneError(Exception):
    """An all-reduce failed: another rank is gone."""


@dataclass(frozen=True)
class Member:
    """A process of the group: the present one."""

    rank: int
    ranks: int
    # `host:port` of rank 0, and what rank 0 binds.
    coordinator: str
    bind: str | None = None


class Group:
    """The joined group."""

    def __init__(self, member: Member) -> None:
        # Whatever else JAX finds, also a GPU: the ranks share this machine's processors.
        jax.config.update("jax_platforms", "cpu")
        if member.ranks > 1:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            # Without this JAX aborts the process when another rank is gone, and nobody can end its
            # spans. Gloo reports the loss, too, as an exception.
            jax.config.update("jax_enable_recoverability", True)
            jax.distributed.initialize(
                member.coordinator,
                member.ranks,
                member.rank,
                initialization_timeout=MEET_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=LEAVE_SECONDS,
                coordinator_bind_address=member.bind if member.rank == 0 else None,
            )
        self._joined = member.ranks > 1
        mesh = Mesh(jax.devices(), ("rank",))
        self._rank, self._ranks = member.rank, member.ranks
        self._rows = NamedSharding(mesh, PartitionSpec("rank"))
        self._sum = jax.jit(
            lambda values: values.sum(axis=0),
            out_shardings=NamedSharding(mesh, PartitionSpec()),
        )

    def all_reduce(self, vector: jax.Array) -> jax.Array:
        """The sum of the vectors of all ranks; returns when the last rank has brought its own."""
        shape = (self._ranks, *vector.shape)
        rows = jax.make_array_from_single_device_arrays(
            shape, self._rows, [jnp.expand_dims(vector, 0)]
        )
        try:
            total: jax.Array = self._sum(rows)
            own: jax.Array = total.addressable_data(0)
            return own.block_until_ready()
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            raise AloneError(f"the all-reduce of rank {self._rank} failed") from error

    def from_rank_0(self, text: bytes) -> bytes:
        """What rank 0 passes here, on every rank. The others' is ignored."""
        own = np.zeros(TEXT_BYTES, dtype=np.float32)
        if self._rank == 0:
            short = text[:TEXT_BYTES]
            own[: len(short)] = np.frombuffer(short, dtype=np.uint8)
        total = np.asarray(self.all_reduce(jnp.asarray(own))).astype(np.uint8)
        return total.tobytes().rstrip(b"\0")

    def leave(self) -> None:
        """Waits until all have finished; the process then has to end at once, by `os._exit`.

        Not by `jax.distributed.shutdown`, which aborts a rank that is later than rank 0. So rank 0
        is the last one: its second sum fails when another rank has gone.
        """
        if self._joined:
            self.all_reduce(jnp.zeros(1))
            if self._rank == 0:
                with contextlib.suppress(AloneError):
                    self.all_reduce(jnp.zeros(1))
