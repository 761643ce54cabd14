"""Schedules: which learning rate at which step."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


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
