"""Trains a classifier of wines and writes it, with a description of the run, beside this file."""

import json
import logging
import uuid
from pathlib import Path

import numpy as np
import skops.io
import wines
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = Path(__file__).with_name("model.skops")
RUN = Path(__file__).with_name("run.json")

log = logging.getLogger("train")


def load_data() -> list[np.ndarray]:
    """Features of 4 in 5 wines, features of the rest, and the classes of both."""
    features, classes = zip(*wines.read().values(), strict=True)
    arrays = np.array(features), np.array(classes)
    split: list[np.ndarray] = train_test_split(*arrays, test_size=0.2, random_state=42)
    return split


def train_model(features: np.ndarray, classes: np.ndarray) -> Pipeline:
    """A logistic regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(features, classes)


def evaluate_model(model: Pipeline, features: np.ndarray, classes: np.ndarray) -> float:
    """The share of wines that the model classifies correctly."""
    return round(float(model.score(features, classes)), 3)


def save_model(model: Pipeline, run: dict[str, object]) -> None:
    """Writes the model, and what is known of its training."""
    skops.io.dump(model, MODEL)
    RUN.write_text(json.dumps(run, indent=2))


def main() -> None:
    """Trains once."""
    logging.basicConfig(level=logging.INFO)
    run_id = uuid.uuid4().hex
    features, unseen_features, classes, unseen_classes = load_data()
    model = train_model(features, classes)
    run = {
        "run_id": run_id,
        "training_accuracy": evaluate_model(model, features, classes),
        "validation_accuracy": evaluate_model(model, unseen_features, unseen_classes),
        "mean": features.mean(axis=0).tolist(),
        "deviation": features.std(axis=0).tolist(),
    }
    save_model(model, run)
    log.info("trained")


if __name__ == "__main__":
    main()
