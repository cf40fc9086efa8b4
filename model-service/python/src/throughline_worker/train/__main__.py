"""`python -m throughline_worker.train wine_quality --data CSV --model-repository FOLDER`."""

import sys

from throughline_worker import thread_pools

# Before the first import of numpy, as in the service.
thread_pools.limit_threads()

import argparse  # noqa: E402
import logging  # noqa: E402
from pathlib import Path  # noqa: E402

from throughline_worker import logs  # noqa: E402
from throughline_worker.leave import leave  # noqa: E402
from throughline_worker.repository import ModelRepository, ModelVersions  # noqa: E402
from throughline_worker.train.run import TrainError, TrainOptions, train  # noqa: E402

_log = logging.getLogger("throughline_worker.train")


def main() -> int:
    """Trains one version, and returns the exit code."""
    arguments = _arguments()
    logs.configure("model-training")
    options = TrainOptions(
        model=arguments.model,
        data=arguments.data,
        model_repository=arguments.model_repository,
        seed=arguments.seed,
        source_commit=arguments.source_commit,
    )
    if arguments.if_missing and _is_served(options):
        text = f"model {options.model} has a version already"
        logs.event(
            _log, logging.INFO, "ml.training.skipped", text, {"ml.model_name": options.model}
        )
        return 0
    try:
        train(options)
    except TrainError:
        # `train` has recorded it on its span and in the log.
        return 1
    return 0


def _is_served(options: TrainOptions) -> bool:
    """Whether a version is ready. One that an upgrade made unavailable counts as missing."""
    repository = ModelRepository(options.model_repository)
    try:
        repository.refresh()
    except OSError:
        return False
    return bool(repository.models.get(options.model, ModelVersions()).ready)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="throughline_worker.train", description="Trains a version of a model"
    )
    parser.add_argument("model", choices=["wine_quality"], help="the model to train")
    parser.add_argument("--data", type=Path, required=True, help="the CSV file of the data")
    parser.add_argument(
        "--model-repository",
        type=Path,
        required=True,
        help="folder that holds one folder per model",
    )
    parser.add_argument(
        "--seed", type=int, default=42, help="determines the split and the learning [default: 42]"
    )
    parser.add_argument("--source-commit", help="commit of the code, for the manifest")
    parser.add_argument(
        "--if-missing",
        action="store_true",
        help="do nothing when there is a version that can be served",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(leave(main()))
