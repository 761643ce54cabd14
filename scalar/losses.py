"""Softmax and the losses, spelt out in Values: a sample is a list of numbers, a batch a list of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .op import listed, number
from .ops import exp, log, mean, sum


def softmax(xs: Sequence[Any]) -> list[Any]:
    """e^xi / (e^x1 + ... + e^xn) for each x, shifted by the largest so that nothing overflows."""
    exponentials = [exp(d) for d in shifted(xs, "softmax")]
    total = sum(exponentials)
    return [e / total for e in exponentials]


def log_softmax(xs: Sequence[Any]) -> list[Any]:
    """xi - log(e^x1 + ... + e^xn) for each x, shifted by the largest so that nothing overflows."""
    differences = shifted(xs, "log_softmax")
    total = log(sum([exp(d) for d in differences]))
    return [d - total for d in differences]


def shifted(xs: Sequence[Any], where: str) -> list[Any]:
    """x - max(xs) for each x. The shift cancels in what is made of it, so it is a plain number, not differentiated."""
    xs = listed(xs, where)
    if not xs:
        raise ValueError(f"{where}: expected at least one element, got none")
    largest = float(np.max([plain(x, where) for x in xs]))
    return [x - largest for x in xs]


def cross_entropy(logits: Sequence[Any], labels: Any) -> Any:
    """The mean over samples of -sum_j p_j log softmax(logits)_j, computed without overflow for any finite logits.

    logits  k numbers, or n lists of k numbers
    labels  a class number from 0 to k - 1 for each sample, or for each k probabilities (one-hot, or smoothed)

    Raises ValueError for shapes that do not fit, an empty batch, class numbers out of range and NaN labels;
    TypeError for class numbers that are not integers.
    """
    rows, targets = batch("cross_entropy", logits, labels)
    losses = []
    for row, target in zip(rows, targets, strict=True):
        differences = shifted(row, "cross_entropy")
        total = log(sum([exp(d) for d in differences]))
        losses.append(expectation(target, [total - d for d in differences]))
    return mean(losses)


def categorical_cross_entropy(probabilities: Sequence[Any], labels: Any) -> Any:
    """The mean over samples of -sum_j p_j log q_j for predicted probabilities q; infinite where the truth has q = 0.

    Takes shapes and labels, and raises, as `cross_entropy` does. Where q comes from a softmax, `cross_entropy` on the
    logits is the exact way.
    """
    rows, targets = batch("categorical_cross_entropy", probabilities, labels)
    losses = []
    for row, target in zip(rows, targets, strict=True):
        logs = [log(q) if p else 0.0 for p, q in zip(target, row, strict=True)]
        losses.append(-expectation(target, logs))
    return mean(losses)


def expectation(probabilities: Sequence[float], xs: Sequence[Any]) -> Any:
    """The sum of p x, where p = 0 leaves x out even if it is infinite."""
    return sum([p * x for p, x in zip(probabilities, xs, strict=True) if p])


def mse(predictions: Sequence[Any], targets: Sequence[Any]) -> Any:
    """The mean of (prediction - target)^2 over all elements, lists nested alike.

    Raises ValueError for shapes that differ and for no elements at all.
    """
    expected, got = shape(predictions, "mse"), shape(targets, "mse")
    if expected != got:
        raise ValueError(f"mse: expected targets of shape {expected} like the predictions, got {got}")
    if 0 in expected:
        raise ValueError(f"mse: expected at least one sample, got shape {expected}")
    numbers = [[x if hasattr(x, "op") else number(x, "mse") for x in flat(xs)] for xs in (predictions, targets)]
    differences = [p - t for p, t in zip(*numbers, strict=True)]
    return mean([d * d for d in differences])


def batch(where: str, outputs: Sequence[Any], labels: Any) -> tuple[list[Any], list[list[float]]]:
    """The samples' outputs as rows, and their labels as rows of probabilities."""
    expected = shape(outputs, where)
    if not hasattr(labels, "dtype"):
        shape(labels, where)
        labels = np.asarray(labels)
    if 0 in expected or not expected:
        raise ValueError(f"{where}: expected at least one sample, got shape {expected}")
    classes = expected[-1]
    if labels.dtype.kind not in "iuf":
        raise TypeError(f"{where}: expected labels as class numbers or probabilities, got {labels.dtype}")
    if np.isnan(labels).any():
        raise ValueError(f"{where}: expected labels as class numbers or probabilities, got nan")
    if labels.shape == expected[:-1]:
        if labels.dtype.kind == "f":
            raise TypeError(f"{where}: expected integer class numbers, got {labels.dtype}")
        wrong = labels[(labels < 0) | (labels >= classes)]
        if wrong.size:
            raise ValueError(f"{where}: expected class numbers from 0 to {classes - 1}, got {wrong[0]}")
        labels = np.eye(classes)[labels]
    elif labels.shape != expected:
        raise ValueError(
            f"{where}: expected labels of shape {expected[:-1]} or {expected} for predictions of shape {expected}, "
            f"got {labels.shape}"
        )
    rows = list(outputs) if len(expected) == 2 else [list(outputs)]
    return rows, labels.reshape(-1, classes).tolist()


def shape(nested: Any, where: str) -> tuple[int, ...]:
    """The lengths of lists in lists. Raises ValueError where they are ragged."""
    if isinstance(nested, str) or not hasattr(nested, "__len__"):
        return ()
    inner = {shape(x, where) for x in nested}
    if len(inner) > 1:
        raise ValueError(f"{where}: expected rows of one length, got different ones")
    return (len(nested), *(inner.pop() if inner else ()))


def flat(nested: Any) -> list[Any]:
    if isinstance(nested, str) or not hasattr(nested, "__len__"):
        return [nested]
    return [x for row in nested for x in flat(row)]


def plain(x: Any, where: str) -> float:
    return x.data if hasattr(x, "op") else number(x, where)
