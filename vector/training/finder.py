"""Which learning rate to take: try them all, from small to large, and look where the loss falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..losses import cross_entropy
from ..nn.base import in_mode
from ..optim import Optimizer
from ..random import find_generators

if TYPE_CHECKING:
    from .sequential import Sequential


def find_lr(
    model: Sequential,
    images: np.ndarray,
    labels: np.ndarray,
    optimizer: Optimizer,
    loss: Callable[..., Any] = cross_entropy,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Take `steps` steps with learning rates that grow from `low` to `high` by the same factor at each (Smith, 2015).
    Returns the rates and the loss at each; fewer, where the loss became four times its least, or was not finite. A good
    rate is about a tenth of where the loss is least: `viz.plots.learning_rates` draws it.

    Model, optimizer and random generators are afterwards as they were. Raises as `fit` does.
    """
    kept = model.state_dict(), optimizer.state_dict()
    generators = find_generators([model])
    stands = [rng.bit_generator.state for rng in generators]
    batches = model.batches(images, labels, batch_size, seed)
    step, rates = model.train_step(optimizer, loss), np.geomspace(low, high, steps)
    losses: list[float] = []
    try:
        with in_mode(model, training=True):
            while len(losses) < steps:
                for batch in batches:
                    optimizer.lr = rates[len(losses)]
                    value = step(*batch)[0].item()
                    if not np.isfinite(value) or (losses and value > 4.0 * min(losses)):
                        return rates[: len(losses)], np.array(losses)
                    losses.append(value)
                    if len(losses) == steps:
                        break
    finally:
        model.load_state_dict(kept[0])
        optimizer.load_state_dict(kept[1])
        for rng, state in zip(generators, stands, strict=True):
            rng.bit_generator.state = state
    return rates, np.array(losses)
