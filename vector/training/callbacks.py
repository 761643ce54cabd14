"""What `fit` calls between its epochs. State that is in a `state_dict` goes into the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..nn.base import Layer


class EarlyStopping:
    """Stop `fit` where `watch` has not become better for `patience` epochs, and give the model the best weights that it
    had: `model.fit(..., on_epoch=EarlyStopping(model))`.

    watch   a name in the history's rows: "test_loss", or "loss" where there is no validation; a name with "accuracy" in
            it is better where it is larger
    least   how much better counts

    Where the epochs run out first, `restore()` gives the model its best weights.
    """

    def __init__(self, model: Layer, patience: int = 5, watch: str | None = None, least: float = 0.0) -> None:
        self.model, self.patience, self.watch, self.least = model, patience, watch, least
        self.best, self.since = math.inf, 0
        self.weights: dict[str, Any] = {}

    def __call__(self, row: Mapping[str, float]) -> bool:
        """Take in an epoch's row. Returns whether to stop. Raises KeyError where the row has not what is watched."""
        name = self.watch or ("test_loss" if "test_loss" in row else "loss")
        value = -row[name] if "accuracy" in name else row[name]
        if value < self.best - self.least:
            self.best, self.since, self.weights = value, 0, self.model.state_dict()
            return False
        self.since += 1
        if self.since < self.patience:
            return False
        self.restore()
        return True

    def restore(self) -> None:
        """Give the model the best weights so far."""
        if self.weights:
            self.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """The best value and weights, and for how many epochs there was none better."""
        best = None if math.isinf(self.best) else self.best
        return {"best": best, "since": self.since, "weights": dict(self.weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.since, self.weights = int(state["since"]), dict(state["weights"])
