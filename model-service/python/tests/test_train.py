"""The training: from the CSV file to a version, with the same split as in Rust."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from harness import BINARY, DATA, HELP, ROOT, binary, running

from throughline_worker.repository import Manifest
from throughline_worker.train import data
from throughline_worker.train.run import TrainError, TrainOptions, train
from throughline_worker.train.split import is_validation, split

VALIDATION_ROWS = ROOT / "model-service" / "tests" / "validation-rows-of-seed-42.txt"


def test_all_rows_are_read_in_order() -> None:
    examples = data.read(DATA).examples
    assert len(examples) == 1599
    first = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]
    assert examples.features[0].tolist() == pytest.approx(first, abs=1e-6)
    assert examples.classes[[0, 3]].tolist() == [0, 1], "quality 5 is low, quality 6 is high"


def test_equal_rows_stay_on_one_side() -> None:
    examples = data.read(DATA).examples
    for seed in range(5):
        parts = split(examples, 5, seed)
        training = {row.tobytes() for row in parts.training.features}
        assert not training & {row.tobytes() for row in parts.validation.features}
        assert len(parts.training) + len(parts.validation) == 1599
        assert 0.15 < len(parts.validation) / 1599 < 0.25


def test_the_validation_rows_of_seed_42_are_those_of_the_file() -> None:
    """The Rust trainer's tests read the same file."""
    features = data.read(DATA).examples.features
    found = [
        f"wine-{row:04}"
        for row, values in enumerate(features, start=1)
        if is_validation(values, 5, 42)
    ]
    assert found == VALIDATION_ROWS.read_text().splitlines()


def test_the_split_depends_on_the_seed_alone() -> None:
    examples = data.read(DATA).examples
    first, again, other = (
        split(examples, 5, seed).validation.features.tobytes() for seed in (7, 7, 8)
    )
    assert first == again != other


def test_the_model_is_clearly_better_than_the_majority(trained: tuple[Path, Manifest]) -> None:
    metrics = trained[1].metrics
    assert metrics.validation_accuracy >= 0.72
    assert metrics.validation_accuracy > metrics.majority_baseline + 0.1
    assert metrics.training_rows + metrics.validation_rows == 1599


def test_same_seed_same_weights(trained: tuple[Path, Manifest], tmp_path: Path) -> None:
    manifest = train(TrainOptions(DATA, tmp_path))
    assert manifest.metrics == trained[1].metrics
    assert manifest.check == trained[1].check
    assert manifest.run_id != trained[1].run_id


def test_the_reference_profile_describes_the_training_part(trained: tuple[Path, Manifest]) -> None:
    reference = trained[1].reference
    for feature in reference.features:
        assert len(feature.decile_edges) == 9
        assert feature.decile_edges == sorted(feature.decile_edges)
        assert sum(feature.decile_shares) == pytest.approx(1.0)
        assert feature.min <= feature.mean <= feature.max
    assert sum(reference.class_shares) == pytest.approx(1.0)
    assert all(0.5 <= confidence <= 1.0 for confidence in reference.confidence_deciles)


@pytest.mark.skipif(BINARY is None, reason=HELP)
@pytest.mark.parametrize("seed", [42, 7, 2**64 - 1])
def test_the_rust_trainer_makes_the_same_split(tmp_path: Path, seed: int) -> None:
    ours = train(TrainOptions(DATA, tmp_path, seed=seed))
    options = ["--model-repository", str(tmp_path), "--data", str(DATA), "--seed", str(seed)]
    with running(
        [binary(), "train", "wine_quality", *options], {"OTEL_SDK_DISABLED": "true"}
    ) as process:
        assert process.wait() == 0
    theirs = json.loads((tmp_path / "wine_quality" / "2" / "manifest.json").read_bytes())
    ours_as_json = json.loads(ours.to_json())
    # To the last bit: the same rows, and the same arithmetic.
    assert ours_as_json["reference"]["features"] == theirs["reference"]["features"]
    assert asdict(ours.metrics)["majority_baseline"] == theirs["metrics"]["majority_baseline"]
    for same in ("dataset", "features", "lookup", "classes", "seed", "name"):
        assert ours_as_json[same] == theirs[same], same
    assert set(ours_as_json) - set(theirs) == {"framework_version", "check"}
    # The worker answers the probabilities of scikit-learn as they are.
    assert set(theirs) - set(ours_as_json) == {"calibration"}


HEADER = f"data_id,{','.join(data.FEATURES)},quality\n"
WRONG = [
    ("data_id,quality\nwine-0001,5\n", "no column fixed_acidity"),
    (f"{HEADER}wine-0001,1,2,3,4,5,6,7,8,9,10,eleven,5\n", "line 2"),
    (f"{HEADER}wine-0001,1,2,3,4,5,6,7,8,9,10,NaN,5\n", "line 2"),
    (f"{HEADER}wine-0001,1,2\n", "not valid CSV"),
    (HEADER, "0 rows"),
    ("", "no column"),
    (HEADER + "wine-0001,1,2,3,4,5,6,7,8,9,10,11,5\n" * 20, "20 rows"),
]


@pytest.mark.parametrize(("content", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_unusable_data_leave_no_version(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "data.csv"
    file.write_text(content)
    with pytest.raises(TrainError, match=reason):
        train(TrainOptions(file, tmp_path / "models"))
    assert not (tmp_path / "models").exists()


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="cannot read"):
        train(TrainOptions(tmp_path / "none.csv", tmp_path / "models"))
