"""The wines of the data set, by their data id."""

import csv
from pathlib import Path

DATA = Path(__file__).parents[3] / "data" / "wine_quality" / "winequality-red.csv"


def read() -> dict[str, tuple[list[float], str]]:
    """Eleven measurements of each wine and its class, `low` or `high`."""
    wines = {}
    with DATA.open(newline="") as file:
        for row in csv.DictReader(file):
            data_id = row.pop("data_id")
            quality = "high" if int(row.pop("quality")) >= 6 else "low"
            wines[data_id] = ([float(value) for value in row.values()], quality)
    return wines
