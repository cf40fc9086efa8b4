"""Declares the view `wine_features` in the feature repository of this folder and writes all wines to its online store.

`python fill.py WINES.csv`, in a folder with feature_store.yaml.
"""

import pathlib
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64, String
from feast.value_type import ValueType


def main() -> None:
    """Apply and write, as `feast apply` and `feast materialize` do."""
    wines = pd.read_csv(pathlib.Path(sys.argv[1])).drop(columns="quality").rename(columns={"data_id": "wine_id"})
    names = [name for name in wines.columns if name != "wine_id"]
    wines[names] = wines[names].astype("float64")
    wines["event_timestamp"] = datetime.now(UTC)
    wines.to_parquet("wines.parquet")
    wine = Entity(name="wine", join_keys=["wine_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="wine_features",
        entities=[wine],
        ttl=timedelta(days=3650),
        schema=[Field(name="wine_id", dtype=String), *(Field(name=name, dtype=Float64) for name in names)],
        source=FileSource(path="wines.parquet", timestamp_field="event_timestamp"),
    )
    store = FeatureStore(".")
    store.apply([wine, view])
    store.write_to_online_store("wine_features", wines)


if __name__ == "__main__":
    main()
