"""The quick form of boosted trees: exactly what scikit-learn computes, or none."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from throughline_worker.deadline import Deadline
from throughline_worker.engine import Engine
from throughline_worker.errors import DeadlinePassed
from throughline_worker.repository import Manifest, ModelRepository
from throughline_worker.repository.quick import SHORT, boosted_trees

RANDOM = np.random.default_rng(42)
ROWS = RANDOM.normal(size=(200, 5)).astype(np.float32)


def fitted(model: Any, classes: int = 2) -> Any:
    return model.fit(ROWS, np.arange(len(ROWS)) % classes)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("init", [None, "zero"])
def test_it_computes_what_scikit_learn_does(classes: int, init: str | None) -> None:
    model = fitted(GradientBoostingClassifier(n_estimators=7, init=init), classes)
    quick = boosted_trees(model, ROWS[:1])
    assert quick is not None
    for rows in (ROWS, ROWS[:1], ROWS[::3], np.asfortranarray(ROWS)):
        assert np.array_equal(quick.probabilities(rows), model.predict_proba(rows))


def test_rows_of_another_width_are_refused() -> None:
    quick = boosted_trees(fitted(GradientBoostingClassifier(n_estimators=2)), ROWS)
    assert quick is not None
    with pytest.raises(ValueError, match="5 features"):
        quick.probabilities(ROWS[:, :4])


class Changed(GradientBoostingClassifier):  # type: ignore[misc]
    """A class that may compute something else."""


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(3),
        LogisticRegression(),
        Changed(n_estimators=2),
        GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()),
    ],
    ids=["forest", "logistic", "subclass", "init"],
)
def test_other_models_have_none(model: Any) -> None:
    assert boosted_trees(fitted(model), ROWS) is None


def test_what_disagrees_or_has_other_parts_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(GradientBoostingClassifier(n_estimators=2))
    with monkeypatch.context() as patched:
        patched.setattr(model, "learning_rate", 0.2)
        before = fitted(GradientBoostingClassifier(n_estimators=2)).predict_proba
        patched.setattr(model, "predict_proba", before, raising=False)
        assert boosted_trees(model, ROWS) is None
    monkeypatch.delattr(model, "_loss")
    assert boosted_trees(model, ROWS) is None


def test_few_rows_are_short(trained: tuple[Path, Manifest]) -> None:
    repository = ModelRepository(trained[0])
    assert repository.refresh()
    loaded = repository.find("wine_quality", None)
    assert loaded.trees is not None
    assert loaded.is_short(1)
    assert not loaded.is_short(SHORT)


def test_a_short_task_runs_on_the_thread_of_the_loop() -> None:
    async def scenario() -> None:
        engine = Engine(threads=1, queue_capacity=1)
        here = threading.get_ident()
        short = await engine.compute(threading.get_ident, Deadline.after(60), is_short=True)
        assert (short.result, short.queue >= 0, short.compute >= 0) == (here, True, True)
        assert (await engine.compute(threading.get_ident, Deadline.after(60))).result != here
        with pytest.raises(DeadlinePassed):
            await engine.compute(threading.get_ident, Deadline.after(0), is_short=True)
        engine.close()

    asyncio.run(scenario())
