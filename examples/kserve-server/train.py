"""Trains the server's model: a logistic regression, which no other variant uses.

`python train.py --data ../../data/wine_quality/winequality-red.csv --model-dir model`
"""

import argparse
import csv
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = [
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "ph",
    "sulphates",
    "alcohol",
]
CLASSES = ["low", "high"]
# KServe's own scikit-learn server looks for the same name.
FILE = "model.joblib"


def load_data(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the features [n, 11] and the class [n] of each wine: 1 is high, a quality of 6 or more."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    features = np.array([[float(row[name]) for name in FEATURES] for row in rows], dtype=np.float32)
    return features, np.array([int(row["quality"]) >= 6 for row in rows], dtype=int)


def train(data: Path) -> tuple[Pipeline, float]:
    """Return the fitted pipeline and its accuracy on the fifth of the wines that it has not seen."""
    features, classes = load_data(data)
    seen, unseen, seen_classes, unseen_classes = train_test_split(
        features, classes, test_size=0.2, random_state=42, stratify=classes
    )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(seen, seen_classes)
    return pipeline, float(pipeline.score(unseen, unseen_classes))


def main() -> None:
    """Train and write the model, whole or not at all."""
    parser = argparse.ArgumentParser(description="Train the model of the KServe server")
    parser.add_argument("--data", type=Path, required=True, help="the wines, CSV")
    parser.add_argument("--model-dir", type=Path, required=True, help="where the model is written")
    options = parser.parse_args()
    pipeline, accuracy = train(options.data)
    options.model_dir.mkdir(parents=True, exist_ok=True)
    unfinished = options.model_dir / f".{FILE}.{os.getpid()}"
    joblib.dump(pipeline, unfinished)
    unfinished.replace(options.model_dir / FILE)
    print(f"{options.model_dir / FILE}: validation accuracy {accuracy:.3f}")  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
