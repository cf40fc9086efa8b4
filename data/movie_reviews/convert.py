"""Makes reviews.csv of movieReviewSnippets_GroundTruth.txt; see README.md for where that is from."""

import csv
import sys
from pathlib import Path

STEP = 26
"""One snippet in this many, so that few are kept, of the whole range."""


def main(source: Path, target: Path) -> None:
    """Writes one row per kept snippet, in the original order, and changes no character of it."""
    lines = source.read_text(encoding="utf-8-sig").splitlines()
    with target.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["data_id", "rating", "text"])
        rows.writerows(line.split("\t", 2) for line in lines[::STEP])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
