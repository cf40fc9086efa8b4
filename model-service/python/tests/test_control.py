"""Loading and unloading models: the choice lasts, and is never half made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import NOWHERE
from harness import FIRST_WINE, Client, running, worker_command
from test_repository import again, latest, refreshed

from throughline_worker.errors import (
    NotReady,
    RepositoryReadOnly,
    UnknownModel,
    UnknownVersion,
    Unloaded,
)

MODEL = "wine_quality"
FILE = "current.scikit-learn"


def test_a_chosen_version_stays_for_all_readers_until_the_newest_is_wanted(
    repository: Path,
) -> None:
    again(repository)
    one, other = refreshed(repository), refreshed(repository)
    one.choose(MODEL, 1)
    other.refresh()
    again(repository)
    one.refresh()
    for models in (one, other, refreshed(repository)):
        assert latest(models) == "1"
        assert models.find(MODEL, "2").manifest.version == "2"
    other.choose(MODEL, None)
    one.refresh()
    assert latest(one) == latest(other) == "3"
    assert not list((repository / MODEL).glob("*current*"))


def test_a_version_that_cannot_be_served_changes_nothing(repository: Path) -> None:
    (again(repository) / "model.skops").unlink()
    foreign = repository / MODEL / "3"
    foreign.mkdir()
    (foreign / "model.safetensors").touch()
    models = refreshed(repository)
    for version in (None, 2):
        with pytest.raises(NotReady, match=r"version 2: model\.skops"):
            models.choose(MODEL, version)
    for version in (3, 9):
        with pytest.raises(UnknownVersion):
            models.choose(MODEL, version)
    for name in ("none", "", "..", "wine_quality/1"):
        with pytest.raises(UnknownModel):
            models.choose(name, None)
    # A folder cannot be replaced by a file, whoever runs the test.
    (repository / MODEL / FILE / "in the way").mkdir(parents=True)
    with pytest.raises(RepositoryReadOnly):
        models.choose(MODEL, 1)
    with pytest.raises(RepositoryReadOnly):
        models.unload(MODEL)
    assert latest(models) == "1"


def test_an_unloaded_model_is_not_served_until_it_is_loaded(repository: Path) -> None:
    again(repository)
    one, other = refreshed(repository), refreshed(repository)
    one.unload(MODEL)
    assert not other.refresh()
    for models in (one, other, refreshed(repository)):
        for version in (None, "1"):
            with pytest.raises(Unloaded):
                models.find(MODEL, version)
        assert not models.models[MODEL].ready, "it needs no memory"
        assert models.models[MODEL].idle == [1, 2]
    one.choose(MODEL, 1)
    assert latest(one) == latest(refreshed(repository)) == "1"


@pytest.mark.parametrize(
    ("text", "reason"), [("latest", "no number"), ("", "no number"), ("2\n", "version 2")]
)
def test_a_choice_that_cannot_be_followed_leaves_the_version_before(
    repository: Path, text: str, reason: str
) -> None:
    models = refreshed(repository)
    (repository / MODEL / FILE).write_text(text)
    models.refresh()
    assert latest(models) == "1"
    with pytest.raises(NotReady, match=reason):
        latest(refreshed(repository))


def infer(client: Client) -> Any:
    features = {"name": "features", "shape": [1, 11], "datatype": "FP32", "data": FIRST_WINE}
    body = json.dumps({"inputs": [features]}).encode()
    return client.post(f"/v2/models/{MODEL}/infer", body).json()


def test_the_calls_change_what_answers(repository: Path) -> None:
    again(repository)
    half = shutil.copytree(repository / MODEL / "1", repository / MODEL / "3")
    (half / "model.skops").write_text("half")
    with running(worker_command(repository, NOWHERE, "--allow-model-control")) as process:
        client = Client(process)

        def call(name: str, body: bytes = b"", model: str = MODEL) -> tuple[int, str]:
            answer = client.post(f"/v2/repository/models/{model}/{name}", body)
            return answer.status_code, answer.json()["code"] if answer.content else ""

        assert infer(client)["model_version"] == "2"
        for version in (b'"1"', b"1"):
            assert call("load", b'{"parameters":{"version":%s}}' % version) == (200, "")
            assert infer(client)["model_version"] == "1"
        assert client.get(f"/v2/models/{MODEL}").json()["current_version"] == "1"
        assert call("load") == (503, "model_not_ready")
        for body in (
            b"[]",
            b"{",
            b'{"parameters":{"config":"{}"}}',
            b'{"parameters":{"version":true}}',
        ):
            assert call("load", body) == (400, "bad_request"), body
        assert call("load", b'{"parameters":{"version":"x"}}') == (404, "unknown_version")
        assert call("load", b"", "none") == (404, "unknown_model")
        assert infer(client)["model_version"] == "1"
        shutil.rmtree(half)
        assert call("unload", b'{"parameters":{"unload_dependents":false}}') == (200, "")
        assert infer(client)["code"] == "unknown_model"
        assert client.get(f"/v2/models/{MODEL}/ready").status_code == 404
        assert client.get("/v2/models").json() == {"models": []}
        index = client.post("/v2/repository/index", b"").json()
        assert {(line["state"], line["reason"]) for line in index} == {("UNAVAILABLE", "unloaded")}
        assert client.get("/readyz").json()["detail"] == {"models": f"{MODEL} is unloaded"}
        assert call("load", b'{"parameters":null}') == (200, "")
        assert infer(client)["model_version"] == "2"


def test_the_calls_need_the_option(client: Client) -> None:
    for call in ("load", "unload"):
        answer = client.post(f"/v2/repository/models/{MODEL}/{call}", b"")
        assert (answer.status_code, answer.json()["code"]) == (403, "model_control_off")
    assert infer(client)["model_version"] == "1"
