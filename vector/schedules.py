"""Schedules: which learning rate at which step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Schedule = Callable[[int], float]
"""The learning rate at each step, which are counted from 0."""


def constant(lr: float) -> Schedule:
    """The same learning rate at every step."""
    return lambda step: lr


def stepped(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr times `factor` after each `every` steps."""
    return lambda step: lr * factor ** (step // every)


def cosine(lr: float, steps: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Up to lr in a straight line over `warmup` steps, then down to `final` along half a cosine wave until `steps`
    (Loshchilov and Hutter, 2017)."""

    def at(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return final + (lr - final) * (1.0 + math.cos(math.pi * progress)) / 2.0

    return at


def linear(lr: float, steps: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Up to lr in a straight line over `warmup` steps, then in a straight line down to `final` at `steps`."""

    def at(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        return lr + (final - lr) * min(1.0, (step - warmup) / max(1, steps - warmup))

    return at


def exponential(lr: float, factor: float, every: int = 1) -> Schedule:
    """lr times `factor` to the power of step / every: a smooth fall, by `factor` in `every` steps."""
    return lambda step: lr * factor ** (step / every)


def one_cycle(lr: float, steps: int, warmup: float = 0.3, start: float = 1 / 25, final: float = 1e-4) -> Schedule:
    """Along half a cosine wave from lr x `start` up to lr in the first part `warmup` of the steps, and along another
    down to lr x `start` x `final` at the last (Smith and Topin, 2018)."""
    top, low, end = max(1.0, warmup * steps - 1.0), lr * start, lr * start * final

    def at(step: int) -> float:
        if step < top:
            return lr + (low - lr) * (1.0 + math.cos(math.pi * step / top)) / 2.0
        progress = min(1.0, (step - top) / max(1.0, steps - 1.0 - top))
        return end + (lr - end) * (1.0 + math.cos(math.pi * progress)) / 2.0

    return at


class Plateau:
    """Scale an optimizer's learning rate by `factor` where the loss has not fallen for more than `patience` epochs:
    `fit(..., on_epoch=Plateau(optimizer))`.

    It reads `watch` in the row of each epoch, "test_loss" or else "loss", and counts as a fall what is less than
    (1 - threshold) times the best so far. Use it without a schedule, which would set the rate anew.
    """

    def __init__(
        self,
        optimizer: Any,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        watch: str | None = None,
    ) -> None:
        self.optimizer, self.factor, self.patience = optimizer, factor, patience
        self.threshold, self.watch = threshold, watch
        self.best, self.since = math.inf, 0

    def __call__(self, row: dict[str, float]) -> None:
        """Take in an epoch's row. Raises KeyError where it has not what is watched."""
        value = row[self.watch or ("test_loss" if "test_loss" in row else "loss")]
        if value < self.best * (1.0 - self.threshold):
            self.best, self.since = value, 0
            return
        self.since += 1
        if self.since > self.patience:
            self.optimizer.lr *= self.factor
            self.since = 0

    def state_dict(self) -> dict[str, Any]:
        """The best value, and for how many epochs there was none better."""
        return {"best": None if math.isinf(self.best) else self.best, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.since = int(state["since"])
