"""`python -m throughline_worker.ranks --plan FOLDER --rank N --ranks N --coordinator HOST:PORT`."""

import sys

from throughline_worker import thread_pools

# Before the first import of numpy, as in the service.
thread_pools.limit_threads()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import threading  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

from opentelemetry import context, propagate, trace  # noqa: E402

from throughline_worker import logs, telemetry  # noqa: E402
from throughline_worker.leave import leave  # noqa: E402
from throughline_worker.ranks import carrier, plan, rank  # noqa: E402
from throughline_worker.ranks.group import AloneError, Group, Member  # noqa: E402

# The exit codes that the launcher tells apart; 1 is any other failure.
NO_PLAN, ALONE = 2, 3
# More than a service has, because nobody waits for its port, and less than the launcher's patience.
RANK_FLUSH_SECONDS = 5.0

_log = logging.getLogger("throughline_worker.ranks")


def main() -> int:
    """Runs one rank, and returns the exit code."""
    arguments = _arguments()
    logs.configure("model-training")
    logging.getLogger("jax").setLevel(logging.WARNING)
    if arguments.exit_with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    member = Member(arguments.rank, arguments.ranks, arguments.coordinator, arguments.bind)
    token = context.attach(carrier.extract(os.environ))
    try:
        return _train(arguments, member)
    finally:
        context.detach(token)
        telemetry.flush(RANK_FLUSH_SECONDS)


def _train(arguments: argparse.Namespace, member: Member) -> int:
    try:
        planned = plan.read(arguments.plan)
    except (OSError, plan.PlanError) as error:
        _failed(member, error)
        return NO_PLAN
    try:
        group = Group(member)
        with _within_the_trace_of_rank_0(group):
            this = rank.Rank(planned, member, group, arguments.slow / 1000)
            rank.report_life(this)
            layers = this.run(rank.report)
        if member.rank == 0:
            plan.write_weights(arguments.plan, layers)
        # Before the others may leave: nothing is left to do afterwards.
        telemetry.flush(RANK_FLUSH_SECONDS)
        group.leave()
    except AloneError as error:
        _failed(member, error)
        return ALONE
    except (OSError, RuntimeError) as error:
        _failed(member, error)
        return 1
    return 0


@contextlib.contextmanager
def _within_the_trace_of_rank_0(group: Group) -> Iterator[None]:
    """For a rank whose launcher gave it no parent, because it runs on another machine."""
    fields = json.loads(group.from_rank_0(json.dumps(carrier.inject()).encode()))
    if trace.get_current_span().get_span_context().is_valid:
        yield
        return
    token = context.attach(propagate.extract(fields))
    try:
        yield
    finally:
        context.detach(token)


def _failed(member: Member, error: Exception) -> None:
    text = f"rank {member.rank} of {member.ranks} failed: {error}"
    logs.event(_log, logging.ERROR, "ml.training.rank_failed", text, {"error": str(error)})


def _end_with_parent() -> None:
    """Ends the process when the launcher is gone, also in the middle of an all-reduce."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(sys.stdin.fileno(), 64):
            pass
    os._exit(130)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="throughline_worker.ranks",
        description="One rank of a training; `throughline train --workers` starts them",
    )
    parser.add_argument("--plan", type=Path, required=True, help="folder of the plan")
    parser.add_argument("--rank", type=int, required=True, help="number of this rank, from 0")
    parser.add_argument("--ranks", type=int, required=True, help="how many ranks there are")
    parser.add_argument("--coordinator", required=True, help="host:port of rank 0")
    parser.add_argument("--bind", help="address that rank 0 binds [default: all, with that port]")
    parser.add_argument(
        "--slow", type=float, default=0.0, help="milliseconds to lose at every step, on purpose"
    )
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="end when standard input ends"
    )
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    if code:
        leave(code)
    # JAX waits for the other ranks when the interpreter exits, or aborts.
    os._exit(code)
