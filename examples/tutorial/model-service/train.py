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
    """Features and classes of 4 in 5 wines for the training, and of the rest for the test."""
    features, classes = zip(*wines.read().values(), strict=True)
    split = train_test_split(np.array(features), np.array(classes), test_size=0.2, random_state=42)
    return [split[0], split[2], split[1], split[3]]


def train_model(features: np.ndarray, classes: np.ndarray) -> Pipeline:
    """A logistic regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(features, classes)


def save_model(model: Pipeline, run: dict[str, object]) -> None:
    """Writes the model, and what is known of its training."""
    skops.io.dump(model, MODEL)
    RUN.write_text(json.dumps(run, indent=2))


def main() -> None:
    """Trains once."""
    logging.basicConfig(level=logging.INFO)
    run_id = uuid.uuid4().hex
    features, classes, unseen_features, unseen_classes = load_data()
    model = train_model(features, classes)
    run = {
        "run_id": run_id,
        "training_accuracy": round(model.score(features, classes), 3),
        "validation_accuracy": round(model.score(unseen_features, unseen_classes), 3),
        "mean": features.mean(axis=0).tolist(),
        "deviation": features.std(axis=0).tolist(),
    }
    save_model(model, run)
    log.info("trained on %d wines, validated on %d", len(classes), len(unseen_classes))


if __name__ == "__main__":
    main()
