"""What a history says besides the loss, in terms of the task.

A metric is a function of outputs (n, ...) and targets, both plain arrays, that gives a number for each sample, (n,) or
(n, ...), or their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import losses

Metric = Callable[[np.ndarray, np.ndarray], Any]


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether the largest of the last axis is at the class number, or where the probabilities are largest."""
    expected = targets if targets.ndim < outputs.ndim else targets.argmax(-1)
    return outputs.argmax(-1) == expected


def binary_accuracy(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether a logit is above 0 where the target is above 1/2, element by element."""
    return (outputs > 0) == (targets > 0.5)


def absolute_error(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """|output - target|, element by element."""
    return np.abs(outputs - targets)


def metrics_for(loss: Callable[..., Any], targets: np.ndarray) -> dict[str, Metric]:
    """The metrics that fit a task, by name: of a loss of classes the accuracy, of one of differences the mean absolute
    error; of any other the accuracy where the targets are class numbers, else none."""
    if loss is losses.binary_cross_entropy:
        return {"accuracy": binary_accuracy}
    if loss in (losses.mse, losses.l1, losses.huber):
        return {"error": absolute_error}
    classes = targets.dtype.kind in "iu"
    known = loss in (losses.cross_entropy, losses.categorical_cross_entropy, losses.kl_divergence, losses.focal)
    return {"accuracy": accuracy} if classes or known else {}


def total(metric: Metric, outputs: np.ndarray, targets: np.ndarray) -> float:
    """The sum over samples of a metric, of the mean over what else there is."""
    values = np.asarray(metric(outputs, targets))
    if not values.ndim:
        return float(values) * len(outputs)
    return float(values.sum()) / (values.size / len(values))


def totals(metric: Metric, outputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> list[float]:
    """The total of each of several batches of one size; an accuracy by one call for all, as it looks at each sample by
    itself and counts."""
    x, y = outputs[0], targets[0]
    alike = y.shape == x.shape and (metric is accuracy or metric is binary_accuracy)
    if len(outputs) == 1 or x.ndim < 2 or not (alike or (metric is accuracy and y.shape == x.shape[:-1])):
        return [total(metric, x, y) for x, y in zip(outputs, targets, strict=True)]
    values = metric(np.concatenate(outputs), np.concatenate(targets)).reshape(len(outputs), -1)
    return [count / (values.shape[1] / len(x)) for count in values.sum(axis=1).tolist()]
