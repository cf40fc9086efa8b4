"""Versions on a disk: interrupted writes, concurrent writers, damaged files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from conftest import NOWHERE
from harness import Client, eventually, running, worker_command
from sklearn.linear_model import LogisticRegression

from throughline_worker.errors import NotReady, UnknownModel, UnknownVersion
from throughline_worker.repository import Manifest, ModelRepository, write_version


def refreshed(root: Path) -> ModelRepository:
    models = ModelRepository(root)
    models.refresh()
    return models


def latest(models: ModelRepository) -> str:
    return models.find("wine_quality", None).manifest.version


def again(root: Path, run_id: str = "0" * 32) -> Path:
    """Writes the first version again, as the next one."""
    first = root / "wine_quality" / "1"
    manifest = Manifest.parse((first / "manifest.json").read_bytes())
    written = write_version(
        root, replace(manifest, run_id=run_id), (first / "model.skops").read_bytes()
    )
    return root / written.name / written.version


def edit(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = place / "manifest.json"
    manifest = json.loads(file.read_bytes())
    change(manifest)
    file.write_text(json.dumps(manifest))


def test_a_manifest_is_read_as_it_was_written(trained: tuple[Path, Manifest]) -> None:
    root, manifest = trained
    assert Manifest.parse((root / "wine_quality" / "1" / "manifest.json").read_bytes()) == manifest


def test_versions_count_up_and_stay(repository: Path) -> None:
    places = [again(repository) for _ in range(10)]
    assert [place.name for place in places] == [str(number) for number in range(2, 12)]
    models = refreshed(repository)
    assert latest(models) == "11", "versions are numbers, not texts"
    assert models.find("wine_quality", "3").manifest.version == "3"


def test_numbers_are_unique_over_both_languages(repository: Path) -> None:
    foreign = repository / "wine_quality" / "7"
    foreign.mkdir()
    (foreign / "manifest.json").write_text("{}")
    (foreign / "model.safetensors").write_bytes(b"")
    only_foreign = repository / "text_sentiment" / "1"
    shutil.copytree(foreign, only_foreign)
    assert again(repository).name == "8"
    models = refreshed(repository)
    assert latest(models) == "8"
    assert sorted(models.models) == ["wine_quality"], (
        "a model without a version of this service is skipped"
    )
    assert models.models["wine_quality"].unavailable == {}
    with pytest.raises(UnknownVersion):
        models.find("wine_quality", "7")


def test_concurrent_writers_all_get_whole_versions(repository: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda number: again(repository, f"{number:032x}"), range(8)))
    assert sorted(int(place.name) for place in places) == list(range(2, 10))
    assert len(refreshed(repository).models["wine_quality"].ready) == 9
    assert len(list((repository / "wine_quality").iterdir())) == 9, "no temporary folder is left"


def flip_a_bit(place: Path) -> None:
    weights = bytearray((place / "model.skops").read_bytes())
    weights[-1] ^= 1
    (place / "model.skops").write_bytes(weights)


def other_weights(model: Any) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        manifest = Manifest.parse((place / "manifest.json").read_bytes())
        root = place.parents[1]
        written = write_version(root, manifest, skops.io.dumps(model))
        shutil.rmtree(place)
        (place.parent / written.version).rename(place)
        edit(place, lambda manifest: manifest.update(version="1"))

    return damage


def logistic(width: int) -> LogisticRegression:
    rows = np.arange(2 * width, dtype=float).reshape(2, width)
    return LogisticRegression().fit(rows, [0, 1])


class Untrusted:
    """A class that skops does not trust."""

    def predict_proba(self, rows: Any) -> Any:
        """Has the method of a model."""
        return rows


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda place: (place / "manifest.json").write_text("{"), "not a manifest"),
    (lambda place: (place / "manifest.json").write_text("[" * 100_000), "not a manifest"),
    (lambda place: (place / "manifest.json").write_text("{}"), "manifest.name is missing"),
    (
        lambda place: edit(place, lambda manifest: manifest.update(features="alcohol")),
        "manifest.features is not a list",
    ),
    (
        lambda place: edit(place, lambda manifest: manifest.update(seed=True)),
        "manifest.seed is not of its type",
    ),
    (lambda place: edit(place, lambda manifest: manifest["features"].pop()), "contradicts itself"),
    (lambda place: edit(place, lambda manifest: manifest["classes"].pop()), "at least two classes"),
    (
        lambda place: edit(
            place, lambda manifest: manifest["normalisation"].update(std=[0.0] * 11)
        ),
        "cannot be used",
    ),
    (lambda place: edit(place, lambda manifest: manifest.update(version="7")), "another folder"),
    (lambda place: (place / "model.skops").unlink(), "model.skops cannot be read"),
    (flip_a_bit, "not the file"),
    (other_weights(logistic(11)), "computes something else"),
    (other_weights(logistic(3)), "not those of the manifest"),
    (other_weights(Untrusted()), "Untrusted"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE, ids=[reason for _, reason in DAMAGE])
def test_damage_is_reported_as_the_reason(
    repository: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(repository / "wine_quality" / "1")
    with pytest.raises(NotReady, match=reason):
        latest(refreshed(repository))


def test_a_model_of_another_class_is_served(repository: Path) -> None:
    place = repository / "wine_quality" / "1"
    other_weights(logistic(11))(place)
    edit(place, lambda manifest: manifest.update(check=None))
    assert latest(refreshed(repository)) == "1"


def test_a_half_written_version_is_not_served(repository: Path) -> None:
    model = repository / "wine_quality"
    for name in ("2", ".tmp-1", "3", "notes"):
        (model / name).mkdir()
    shutil.copy(model / "1" / "manifest.json", model / "2")
    models = refreshed(repository)
    assert latest(models) == "1"
    assert sorted(models.models["wine_quality"].unavailable) == [2, 3]
    assert again(repository).name == "4", "a number is never used twice"


def test_a_refresh_finds_new_repaired_and_removed_versions(
    trained: tuple[Path, Manifest], tmp_path: Path
) -> None:
    root = tmp_path / "later"
    models = ModelRepository(root)
    assert not models.refresh(), "a repository may not exist yet"
    with pytest.raises(UnknownModel):
        latest(models)
    (root / "wine_quality").mkdir(parents=True)
    assert not models.refresh()
    with pytest.raises(NotReady, match="no version yet"):
        latest(models)
    shutil.copytree(trained[0], root, dirs_exist_ok=True)
    weights = (root / "wine_quality" / "1" / "model.skops").rename(tmp_path / "weights")
    assert not models.refresh()
    shutil.copy(weights, root / "wine_quality" / "1" / "model.skops")
    assert models.refresh()
    first = models.find("wine_quality", None)
    second = again(root)
    models.refresh()
    assert latest(models) == "2"
    shutil.rmtree(second)
    models.refresh()
    assert models.find("wine_quality", None) is first, "a known version is not read again"
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        models.refresh()
    assert latest(models) == "1", "loaded versions survive the loss of the volume"


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", ".hidden", "a b", "a\0b"])
def test_names_that_would_leave_the_folder(
    trained: tuple[Path, Manifest], tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        write_version(tmp_path / "models", replace(trained[1], name=name), b"")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("version", ["0", "01", "+1", "-1", "v1", "latest", "9" * 20, "\u0661"])
def test_only_plain_numbers_are_versions(repository: Path, version: str) -> None:
    with pytest.raises(UnknownVersion):
        refreshed(repository).find("wine_quality", version)


def test_a_running_service_loads_new_versions(repository: Path) -> None:
    kept = repository / "wine_quality" / "1"
    away = kept.rename(repository / "1")
    with running(worker_command(repository, NOWHERE)) as process:
        client = Client(process)
        process.event("model.none")
        assert client.get("/readyz").status_code == 503
        assert client.get("/v2/health/ready").json()["error"] == "no model is ready"
        away.rename(kept)
        eventually(lambda: client.get("/readyz").status_code == 200, "readiness")
        again(repository)
        broken = again(repository)
        (broken / "model.skops").write_bytes(b"")
        eventually(
            lambda: client.get("/v2/models/wine_quality").json()["versions"] == ["1", "2"],
            "version 2",
        )
        index = client.post("/v2/repository/index", b"").json()
        assert [line["state"] for line in index] == ["READY", "READY", "UNAVAILABLE"]
        assert "model.skops is not the file" in client.get("/readyz").json()["detail"]["models"]
        assert (
            client.get("/v2/models/wine_quality/versions/3/ready").json()["code"]
            == "model_not_ready"
        )
