"""The losses, with labels checked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .autodiff import mode
from .op import array, arrays, nested, primitive


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean over samples of -sum_j p_j log softmax(logits)_j, computed without overflow for any finite logits.

    logits  (k,) or (n, k)
    labels  () or (n,) class numbers from 0 to k - 1, or probabilities (one-hot, or smoothed) of the logits' shape

    Raises ValueError for shapes that do not fit, an empty batch, class numbers out of range and NaN labels;
    TypeError for class numbers that are not integers.
    """
    logits, labels, classes = batch("cross_entropy", logits, labels)
    if classes is not None:
        return ops.cross_entropy_(logits, hot=labels, classes=classes)
    logs = ops.where(labels != 0, ops.log_softmax(logits), 0.0)
    return -ops.sum(logs * labels) / float(labels.shape[0])


def categorical_cross_entropy(probabilities: Any, labels: Any) -> Any:
    """The mean over samples of -sum_j p_j log q_j for predicted probabilities q; infinite where the truth has q = 0.

    Takes shapes and labels, and raises, as `cross_entropy` does. Where q comes from a softmax, `cross_entropy` on the
    logits is the exact way.
    """
    probabilities, labels, _ = batch("categorical_cross_entropy", probabilities, labels)
    logs = ops.log(ops.where(labels != 0, probabilities, 1.0))
    return -ops.sum(logs * labels) / float(labels.shape[0])


def mse(predictions: Any, targets: Any) -> Any:
    """The mean of (prediction - target)^2 over all elements of two arrays of one shape.

    Raises ValueError for shapes that differ and for no elements at all.
    """
    predictions, targets = arrays(predictions, targets, "mse")
    if predictions.shape != targets.shape:
        raise ValueError(
            f"mse: expected targets of shape {predictions.shape} like the predictions, got {targets.shape}"
        )
    if 0 in predictions.shape:
        raise ValueError(f"mse: expected at least one sample, got shape {predictions.shape}")
    differences = ops.subtract(predictions, targets)
    return ops.mean(ops.multiply(differences, differences))


def batch(where: str, outputs: Any, labels: Any) -> tuple[Any, Any, Any]:
    """The samples' outputs (n, k), their labels as probabilities (n, k), and as class numbers (n,) if they came so."""
    outputs = outputs if hasattr(outputs, "op") else array(outputs, where)
    expected, labels = outputs.shape, labels.peek() if hasattr(labels, "op") else labels
    labels = mode.store.lift(labels if hasattr(labels, "dtype") else nested(labels, where))
    if 0 in expected or not expected:
        raise ValueError(f"{where}: expected at least one sample, got shape {expected}")
    if len(expected) > 2:
        raise ValueError(f"{where}: expected predictions of shape (k,) or (n, k), got {expected}")
    classes = expected[-1]
    if labels.dtype.kind not in "iuf":
        raise TypeError(f"{where}: expected labels as class numbers or probabilities, got {labels.dtype}")
    numbers = None
    if labels.shape == expected:
        labels = probabilities(labels, where).astype(outputs.dtype)
    elif labels.shape == expected[:-1]:
        hot = one_hot(labels, classes, outputs.dtype, where)
        numbers, labels = labels if labels.dtype == INTEGER else labels.astype(INTEGER), hot
    else:
        raise ValueError(
            f"{where}: expected labels of shape {expected[:-1]} or {expected} for predictions of shape {expected}, "
            f"got {labels.shape}"
        )
    if len(expected) == 1:
        outputs, labels = ops.reshape(outputs, (1, classes)), labels.reshape(1, classes)
        numbers = None if numbers is None else numbers.reshape(1)
    return outputs, labels, numbers


INTEGER = np.dtype(np.intp)


@functools.lru_cache(maxsize=64)
def identity(n: int, dtype: Any) -> np.ndarray:
    """Row i marks class i."""
    return np.eye(n, dtype=dtype)


def check(f: Callable[..., Any]) -> Callable[..., Any]:
    """A primitive that raises for wrong labels: a replay runs it even where nobody reads its result."""
    f.checks = True  # type: ignore[attr-defined]
    return primitive(f)


@check
def one_hot(labels: np.ndarray, classes: int, dtype: Any, where: str) -> np.ndarray:
    """Class numbers (...) as ones and zeros (..., classes). Raises TypeError or ValueError for what is no class
    number."""
    if labels.dtype.kind == "f":
        probabilities(labels, where)
        raise TypeError(f"{where}: expected integer class numbers, got {labels.dtype}")
    numbers = labels if labels.dtype == INTEGER else labels.astype(INTEGER)
    try:
        if numbers.item(numbers.argmin()) < 0:  # to find it costs a fifth of np.minimum.reduce
            raise IndexError
        if classes <= 1024:  # to look the rows up is quickest, as long as the table is small
            return identity(classes, dtype).take(numbers, 0)
        hot = np.zeros((*numbers.shape, classes), dtype)
        hot.reshape(-1, classes)[np.arange(numbers.size), numbers.ravel()] = 1
        return hot
    except IndexError:
        wrong = labels[(numbers < 0) | (numbers >= classes)][0]
        raise ValueError(f"{where}: expected class numbers from 0 to {classes - 1}, got {wrong}") from None


@check
def probabilities(labels: np.ndarray, where: str) -> np.ndarray:
    """The labels themselves. Raises ValueError when there is a NaN among them."""
    if np.isnan(labels).any():
        raise ValueError(f"{where}: expected labels as class numbers or probabilities, got nan")
    return labels
