"""What is asked: the paths through the system, with the bodies of their requests."""

import json
from typing import NamedTuple

from load.folders import ROOT

# One row for each wine: its id, its features in the order of the model, its quality.
DATA = ROOT / "data/wine_quality/winequality-red.csv"
HEADER, *ROWS = DATA.read_text().splitlines()
WINES = len(ROWS)
NAMES = HEADER.split(",")[1:-1]
# As Feast names them.
REFERENCES = [f"wine_features:{name}" for name in NAMES]
# Of the first wine.
FEATURES = [float(value) for value in ROWS[0].split(",")[1:-1]]


class Path(NamedTuple):
    """A request that is sent again and again, to which service, and how its body differs from the one before."""

    service: str
    url: str
    bodies: list[str]
    headers: dict[str, str]


def wine(number: int) -> str:
    """The id of a wine; the numbers begin again after the last one."""
    return f"wine-{number % WINES + 1:04}"


def predictions() -> list[str]:
    """Each wine by its id."""
    return [json.dumps({"model": "wine_quality", "data_ids": [wine(number)]}) for number in range(WINES)]


def infer() -> list[str]:
    """The first wine with more or less alcohol, by the Open Inference Protocol."""
    row = {"name": "features", "shape": [1, 11], "datatype": "FP32"}
    return [json.dumps({"inputs": [{**row, "data": [*FEATURES[:-1], 8.4 + number % 6]}]}) for number in range(WINES)]


def features(count: int) -> list[str]:
    """All features of `count` wines, by Feast's protocol."""
    return [
        json.dumps({"features": REFERENCES, "entities": {"wine_id": [wine(number + step) for step in range(count)]}})
        for number in range(WINES)
    ]


PATHS = {
    "hit": Path("gateway", "/v1/predictions", predictions(), {}),
    "miss": Path("gateway", "/v1/predictions", predictions(), {"cache-control": "no-cache"}),
    "infer": Path("model-service", "/v2/models/wine_quality/infer", infer(), {}),
    "features-1": Path("feature-store", "/get-online-features", features(1), {}),
    "features-50": Path("feature-store", "/get-online-features", features(50), {}),
}
