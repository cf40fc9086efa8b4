"""Feast's remote online store against the feature store: one file for two releases, whose protocols differ.

Feast 0.64 and later send the caller's own request; earlier ones ask one feature view at a time, with the views of their
registry, and without a content type. Each runs in its own environment (see `run`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig
from feast.data_source import PushMode
from feast.errors import EntityNotFoundException, FeatureServiceNotFoundException, FeatureViewNotFoundException
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Float64, String
from feast.value_type import ValueType
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from conftest import Wine
from harness import http
from harness.caller import Caller
from harness.system import System
from harness.targets import GATEWAY, MODEL
from harness.traces import Explorer

FEAST = version("feast")
OLD = tuple(int(part) for part in FEAST.split(".")[:2]) < (0, 64)
VIEW = "wine_features"

pytestmark = [
    pytest.mark.client("feast, online store `remote`", distribution="feast", against="feature store"),
    # Feast and its libraries raise warnings.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(autouse=True)
def _instrumented(caller: Caller) -> Iterator[None]:
    """The caller is a program with OpenTelemetry's instrumentation for requests, which Feast uses."""
    del caller
    RequestsInstrumentor().instrument()
    yield
    RequestsInstrumentor().uninstrument()


def connect(system: System, folder: Path) -> FeatureStore:
    config = RepoConfig(
        project="throughline",
        registry=str(folder / "registry.db"),
        provider="local",
        online_store={"type": "remote", "path": system.feature_store},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


@pytest.fixture(scope="module")
def store(system: System, wines: list[Wine], tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A Feast repository that has the view of the feature store, as old clients and all writers need it."""
    folder = tmp_path_factory.mktemp("feast")
    history = folder / "wines.parquet"
    frame(wines[:2], ["history-1", "history-2"], datetime.now(UTC) - timedelta(hours=1)).to_parquet(history)
    wine = Entity(name="wine", join_keys=["wine_id"], value_type=ValueType.STRING)
    source = PushSource(name="wine_push", batch_source=FileSource(path=str(history), timestamp_field="event_timestamp"))
    fields = [Field(name=name, dtype=Float64) for name in wines[0].features]
    schema = [Field(name="wine_id", dtype=String), *fields]
    view = FeatureView(name=VIEW, entities=[wine], ttl=timedelta(days=3650), schema=schema, source=source)
    store = connect(system, folder)
    store.apply([wine, view])
    return store


def frame(wines: list[Wine], ids: list[str], when: datetime) -> pd.DataFrame:
    """Rows as a user's program has them: the features of `wines` under names of their own."""
    columns = {name: [wine.features[name] for wine in wines] for name in wines[0].features}
    return pd.DataFrame({"wine_id": ids, "event_timestamp": [when] * len(ids), **columns})


def own(name: str) -> str:
    """An id that the other release does not write, too."""
    return f"feast-{FEAST}-{name}"


def ask(store: FeatureStore, ids: list[str], features: list[str], **named: Any) -> Any:
    return store.get_online_features(
        features=[f"{VIEW}:{feature}" for feature in features], entity_rows=[{"wine_id": one} for one in ids], **named
    )


def statuses(response: Any, feature: str) -> list[str]:
    position = list(response.proto.metadata.feature_names.val).index(feature)
    return [FieldStatus.Name(status) for status in response.proto.results[position].statuses]


@pytest.mark.call("get_online_features: values")
def test_values(store: FeatureStore, wines: list[Wine], caller: Caller, explorer: Explorer) -> None:
    chosen = [wines[0], wines[800], wines[1598]]
    names = list(wines[0].features)
    with caller.call("feast read") as call:
        answer = ask(store, [wine.data_id for wine in chosen], names).to_dict()
    assert answer == {
        "wine_id": [wine.data_id for wine in chosen],
        **{name: [wine.features[name] for wine in chosen] for name in names},
    }
    trace = explorer.wait(call.trace_id, "feature-store", "POST /get-online-features")
    (served,) = trace.find("feature-store", "POST /get-online-features")
    (sent,) = [span for span in trace.spans if span.service == "client" and span.kind == "CLIENT"]
    assert served.parent_id == sent.span_id
    assert sent.parent_id == call.span_id
    assert trace.services() == {"client", "feature-store"}


@pytest.mark.call("get_online_features: unknown ids, statuses")
def test_unknown(store: FeatureStore) -> None:
    response = ask(store, ["wine-0001", "nobody"], ["alcohol"])
    assert response.to_dict() == {"wine_id": ["wine-0001", "nobody"], "alcohol": [9.4, None]}
    # Releases before 0.64 call every value PRESENT, also one that is missing.
    assert statuses(response, "alcohol") == ["PRESENT", "PRESENT" if OLD else "NOT_FOUND"]


@pytest.mark.call("get_online_features: full_feature_names")
def test_full_names(store: FeatureStore) -> None:
    answer = ask(store, ["wine-0001"], ["alcohol"], full_feature_names=True).to_dict()
    assert answer == {"wine_id": ["wine-0001"], f"{VIEW}__alcohol": [9.4]}


@pytest.mark.call("write_to_online_store")
def test_write(store: FeatureStore, wines: list[Wine], caller: Caller, explorer: Explorer) -> None:
    """The next request reads what was written."""
    ids = [own("written-1"), own("written-2")]
    with caller.call("feast write") as call:
        store.write_to_online_store(VIEW, frame(wines[5:7], ids, datetime.now(UTC)))
    answer = ask(store, ids, ["density", "ph"]).to_dict()
    assert answer["density"] == [wine.features["density"] for wine in wines[5:7]]
    assert answer["ph"] == [wine.features["ph"] for wine in wines[5:7]]
    trace = explorer.wait(call.trace_id, "feature-store", "POST /write-to-online-store")
    assert trace.services() == {"client", "feature-store"}
    # An older row does not overwrite a newer one.
    store.write_to_online_store(VIEW, frame(wines[8:10], ids, datetime.now(UTC) - timedelta(days=1)))
    assert ask(store, ids, ["density", "ph"]).to_dict() == answer


@pytest.mark.call("push")
def test_push(store: FeatureStore, wines: list[Wine]) -> None:
    store.push("wine_push", frame(wines[7:8], [own("pushed")], datetime.now(UTC)), to=PushMode.ONLINE)
    assert ask(store, [own("pushed")], ["sulphates"]).to_dict()["sulphates"] == [wines[7].features["sulphates"]]


@pytest.mark.call("null and outdated values")
def test_null_and_outdated(store: FeatureStore, wines: list[Wine]) -> None:
    """Feast's own server calls both PRESENT; ours does not."""
    now = datetime.now(UTC)
    with_null = frame(wines[:1], [own("null")], now)
    with_null["ph"] = [None]
    store.write_to_online_store(VIEW, with_null)
    store.write_to_online_store(VIEW, frame(wines[:1], [own("outdated")], now - timedelta(days=4000)))
    response = ask(store, [own("null"), own("outdated")], ["alcohol", "ph"])
    answer = response.to_dict()
    assert (answer["alcohol"], answer["ph"]) == ([wines[0].features["alcohol"], None], [None, None])
    expected = ["PRESENT", "PRESENT"] if OLD else ["NULL_VALUE", "OUTSIDE_MAX_AGE"]
    assert statuses(response, "ph") == expected


@pytest.mark.call("written features are predicted from, at once")
def test_predicted(system: System, store: FeatureStore, wines: list[Wine]) -> None:
    """The gateway predicts from what Feast wrote; a missing value and one that is too old are different there, too."""
    now = datetime.now(UTC)
    twin, null, outdated = own("twin"), own("untold"), own("forgotten")
    incomplete = frame(wines[:1], [null], now)
    incomplete["ph"] = [None]
    store.write_to_online_store(VIEW, frame(wines[20:21], [twin], now))
    store.write_to_online_store(VIEW, incomplete)
    store.write_to_online_store(VIEW, frame(wines[:1], [outdated], now - timedelta(days=4000)))
    body = {"model": MODEL, "data_ids": [twin, wines[20].data_id, null, outdated]}
    answer = http.post(f"{system.gateway}/v1/predictions", body, {"cache-control": "no-cache", **GATEWAY.headers})
    written, original, *failed = answer.json()["predictions"]
    assert (written["label"], written["probabilities"]) == (original["label"], original["probabilities"])
    assert [entry["error"]["code"] for entry in failed] == ["missing_features", "outside_max_age"]


@pytest.mark.call("materialize" if OLD else "materialize: refused, there is no offline store")
def test_materialize(store: FeatureStore, wines: list[Wine]) -> None:
    now = datetime.now(UTC)
    ids = ["history-1", "history-2"]
    if OLD:
        # This release reads the offline store itself and writes what it found.
        store.materialize(now - timedelta(days=1), now)
        assert ask(store, ids, ["ph"]).to_dict()["ph"] == [wine.features["ph"] for wine in wines[:2]]
        return
    # This one asks the server to do it; ours loads files by `throughline feature-store materialize`.
    with pytest.raises(RuntimeError, match=r"\(404\)"):
        store.materialize(now - timedelta(days=1), now)


@pytest.mark.call("errors as Feast's own exceptions")
def test_errors(system: System, store: FeatureStore, tmp_path: Path) -> None:
    if OLD:
        # The client checks names against its registry; only a view that the server does not have reaches the server.
        other = FeatureView(
            name="other",
            entities=[store.get_entity("wine")],
            schema=[Field(name="x", dtype=Float64)],
            source=store.get_data_source("wine_push"),
        )
        store.apply([other])
        with pytest.raises(FeatureViewNotFoundException, match="other"):
            store.get_online_features(features=["other:x"], entity_rows=[{"wine_id": "wine-0001"}])
        return
    bare = connect(system, tmp_path)
    with pytest.raises(FeatureViewNotFoundException, match="nothing"):
        bare.get_online_features(features=["nothing:ph"], entity_rows=[{"wine_id": "wine-0001"}])
    with pytest.raises(EntityNotFoundException, match="grape_id"):
        bare.get_online_features(features=[f"{VIEW}:ph"], entity_rows=[{"grape_id": "wine-0001"}])
    with pytest.raises(FeatureServiceNotFoundException, match="tasting"):
        bare.get_online_features(features=FeatureService(name="tasting", features=[]), entity_rows=[{"wine_id": "x"}])


@pytest.mark.skipif(OLD, reason="this release needs the views in its registry")
@pytest.mark.call("get_online_features without a registry")
def test_without_registry(system: System, tmp_path: Path) -> None:
    answer = ask(connect(system, tmp_path), ["wine-0001"], ["ph", "alcohol"]).to_dict()
    assert answer == {"wine_id": ["wine-0001"], "ph": [3.51], "alcohol": [9.4]}
