"""Softmax and the losses, spelt out in Values: a sample is a list of numbers, a batch a list of samples."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .op import listed, number
from .ops import abs, exp, log, mean, relu, softplus, sqrt, sum


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


def cross_entropy(
    logits: Sequence[Any],
    labels: Any,
    weight: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore: int | None = None,
    reduction: str = "mean",
) -> Any:
    """The mean over samples of -sum_j p_j log softmax(logits)_j, computed without overflow for any finite logits.

    logits           k numbers, or lists in lists of k numbers each
    labels           a class number from 0 to k - 1 for each sample, or for each k probabilities (one-hot, or smoothed)
    weight           what each class counts; the mean over class numbers is then weighted by their classes
    label_smoothing  e: the labels' probabilities become (1 - e) p + e / k
    ignore           a class number, of any value, whose samples do not count
    reduction        "mean", "sum", or "none" for a list of the samples' losses

    Raises ValueError for shapes that do not fit, an empty batch, class numbers out of range and NaN labels;
    TypeError for class numbers that are not integers.
    """
    counted = None if ignore is None else np.asarray(labels) != ignore
    labels = labels if counted is None else np.where(counted, labels, 0)
    rows, targets = batch("cross_entropy", logits, labels)
    k = len(targets[0])
    weight = [1.0] * k if weight is None else [number(w, "cross_entropy: weight") for w in weight]
    if len(weight) != k:
        raise ValueError(f"cross_entropy: expected a weight of shape ({k},), got ({len(weight)},)")
    if not 0.0 <= number(label_smoothing, "cross_entropy: label_smoothing") <= 1.0:
        raise ValueError(f"cross_entropy: expected label_smoothing from 0 to 1, got {label_smoothing}")
    kept = [True] * len(rows) if counted is None else counted.ravel().tolist()
    losses, counts = [], []
    for row, target, keep in zip(rows, targets, kept, strict=True):
        differences = shifted(row, "cross_entropy")
        total = log(sum([exp(d) for d in differences]))
        smooth = [p * (1.0 - label_smoothing) + label_smoothing / k for p in target] if label_smoothing else target
        smooth = [p * w * keep for p, w in zip(smooth, weight, strict=True)]
        losses.append(expectation(smooth, [total - d for d in differences]))
        counts.append(builtins.sum(p * w * keep for p, w in zip(target, weight, strict=True)))
    classes = shape(labels, "cross_entropy") != shape(logits, "cross_entropy")
    if reduction == "mean" and classes:
        return sum(losses) / builtins.sum(counts)
    return reduced(losses, reduction, "cross_entropy")


def reduced(losses: list[Any], reduction: str, where: str) -> Any:
    """The losses' mean, their sum, or themselves. Raises ValueError for any other reduction."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{where}: expected the reduction mean, sum or none, got {reduction!r}")
    return mean(losses) if reduction == "mean" else sum(losses) if reduction == "sum" else losses


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


def mse(predictions: Sequence[Any], targets: Sequence[Any], reduction: str = "mean") -> Any:
    """The mean of (prediction - target)^2 over all elements, lists nested alike.

    Raises ValueError for shapes that differ and for no elements at all.
    """
    return reduced([d * d for d in differences("mse", predictions, targets)], reduction, "mse")


def l1(predictions: Sequence[Any], targets: Sequence[Any], reduction: str = "mean") -> Any:
    """The mean of |prediction - target| over all elements, lists nested alike. Raises as `mse` does."""
    return reduced([abs(d) for d in differences("l1", predictions, targets)], reduction, "l1")


def huber(predictions: Sequence[Any], targets: Sequence[Any], delta: float = 1.0, reduction: str = "mean") -> Any:
    """The mean over all elements of d^2 / 2 where |d| is at most delta, else of delta (|d| - delta / 2), for the
    differences d (Huber, 1964). Raises as `mse` does, and ValueError for a delta that is not above 0."""
    if not number(delta, "huber: delta") > 0.0:
        raise ValueError(f"huber: expected a delta above 0, got {delta}")
    sizes = [abs(d) for d in differences("huber", predictions, targets)]
    losses = [0.5 * d * d if plain(d, "huber") <= delta else delta * (d - 0.5 * delta) for d in sizes]
    return reduced(losses, reduction, "huber")


def binary_cross_entropy(
    logits: Sequence[Any], targets: Sequence[Any], positive: float | None = None, reduction: str = "mean"
) -> Any:
    """The mean over all elements of -t log s - (1 - t) log(1 - s), where s = sigmoid(logit), without overflow.

    targets   t, nested as the logits are: 0 or 1, or probabilities
    positive  what t = 1 counts against t = 0

    Raises as `mse` does.
    """
    count = 1.0 if positive is None else number(positive, "binary_cross_entropy: positive")
    pairs = elements("binary_cross_entropy", logits, targets)
    losses = [(1.0 - t) * x + (1.0 + (count - 1.0) * t) * softplus(-x) for x, t in pairs]
    return reduced(losses, reduction, "binary_cross_entropy")


def kl_divergence(logits: Sequence[Any], targets: Any, reduction: str = "mean") -> Any:
    """The mean over samples of sum_j p_j log(p_j / q_j), where q = softmax(logits): how far the predictions are from
    the probabilities `targets`, which are not differentiated. Raises as `cross_entropy` does."""
    rows, probabilities = batch("kl_divergence", logits, targets)
    losses = []
    for row, ps in zip(rows, probabilities, strict=True):
        logs = log_softmax(row)
        losses.append(sum([p * (math.log(p) - q) for p, q in zip(ps, logs, strict=True) if p]))
    return reduced(losses, reduction, "kl_divergence")


def focal(logits: Sequence[Any], labels: Any, gamma: float = 2.0, reduction: str = "mean") -> Any:
    """The mean over samples of -(1 - q)^gamma log q, where q is the probability of the true class in softmax(logits):
    cross-entropy in which what is right already counts less (Lin et al., 2017). Raises as `cross_entropy` does."""
    rows, hot = batch("focal", logits, labels)
    logs = [log_softmax(row)[target.index(1.0)] for row, target in zip(rows, hot, strict=True)]
    return reduced([-((1.0 - exp(x)) ** gamma) * x for x in logs], reduction, "focal")


def triplet(
    anchors: Sequence[Any],
    positives: Sequence[Any],
    negatives: Sequence[Any],
    margin: float = 1.0,
    reduction: str = "mean",
) -> Any:
    """The mean over rows of max(0, |a - p| - |a - n| + margin), with Euclidean distances, of differences to which 1e-6
    is added, so that equal points have a gradient (Schroff et al., 2015)."""

    def distance(a: Sequence[Any], b: Sequence[Any]) -> Any:
        ds = [x - y + 1e-6 for x, y in zip(a, b, strict=True)]
        return sqrt(sum([d * d for d in ds]))

    losses = [
        relu(distance(a, p) - distance(a, n) + margin) for a, p, n in zip(anchors, positives, negatives, strict=True)
    ]
    return reduced(losses, reduction, "triplet")


def elements(where: str, predictions: Sequence[Any], targets: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The elements of two nested lists of one shape, in pairs."""
    expected, got = shape(predictions, where), shape(targets, where)
    if expected != got:
        raise ValueError(f"{where}: expected targets of shape {expected} like the predictions, got {got}")
    if 0 in expected:
        raise ValueError(f"{where}: expected at least one sample, got shape {expected}")
    numbers = [[x if hasattr(x, "op") else number(x, where) for x in flat(xs)] for xs in (predictions, targets)]
    return list(zip(*numbers, strict=True))


def differences(where: str, predictions: Sequence[Any], targets: Sequence[Any]) -> list[Any]:
    return [p - t for p, t in elements(where, predictions, targets)]


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
    numbers = flat(outputs)
    rows = [numbers[i : i + classes] for i in range(0, len(numbers), classes)]
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
