"""The losses, with labels checked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .autodiff import mode
from .op import array, arrays, nested, number, primitive


def cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore: int | None = None,
    reduction: str = "mean",
) -> Any:
    """The mean over samples of -sum_j p_j log softmax(logits)_j, computed without overflow for any finite logits.

    logits           (..., k)
    labels           (...) class numbers from 0 to k - 1, or probabilities (one-hot, or smoothed) of the logits' shape
    weight           (k,) what each class counts; the mean over class numbers is then weighted by their classes
    label_smoothing  e: the labels' probabilities become (1 - e) p + e / k
    ignore           a class number, of any value, whose samples do not count
    reduction        "mean", "sum", or "none" for the loss of each sample, (...)

    Raises ValueError for shapes that do not fit, an empty batch, class numbers out of range and NaN labels;
    TypeError for class numbers that are not integers.
    """
    if weight is None and ignore is None and not label_smoothing and reduction == "mean":
        logits, labels, classes = batch("cross_entropy", logits, labels)
        if classes is not None:
            return ops.cross_entropy_(logits, hot=labels, classes=classes)
    leading = np.shape(logits)[:-1]
    counted, labels = (None, labels) if ignore is None else set_aside(labels, ignore)
    logits, hot, classes = batch("cross_entropy", logits, labels)
    counts, targets = weighed(hot, weight, label_smoothing)
    logs = ops.where(targets != 0, ops.log_softmax(logits), 0.0)
    losses = -ops.sum(logs * targets, axis=-1)
    if counted is not None:
        kept = np.reshape(counted, (-1,)).astype(losses.dtype)
        losses, counts = losses * kept, counts * kept
    if classes is not None and reduction == "mean":
        return ops.sum(losses) / np.add.reduce(counts)
    return reduced(losses, reduction, "cross_entropy", leading)


def weighed(targets: Any, weight: Any, smoothing: float) -> tuple[Any, Any]:
    """What each sample counts (n,), and its probabilities (n, k) smoothed, times the weight of each class."""
    k = targets.shape[-1]
    if weight is None:
        weight = np.ones(k)
    weight = array(weight, "cross_entropy: weight", targets)
    if weight.shape != (k,):
        raise ValueError(f"cross_entropy: expected a weight of shape ({k},), got {weight.shape}")
    if not 0.0 <= number(smoothing, "cross_entropy: label_smoothing") <= 1.0:
        raise ValueError(f"cross_entropy: expected label_smoothing from 0 to 1, got {smoothing}")
    smoothed = targets * (1.0 - smoothing) + smoothing / k if smoothing else targets
    weight = weight.astype(targets.dtype)
    return np.add.reduce(targets * weight, axis=-1), smoothed * weight


def set_aside(labels: Any, ignore: int) -> tuple[Any, Any]:
    """Which class numbers are not `ignore`, and the class numbers with 0 in the place of those."""
    labels = labels.peek() if hasattr(labels, "op") else labels
    labels = mode.store.lift(labels if hasattr(labels, "dtype") else nested(labels, "cross_entropy"))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: expected integer class numbers with ignore, got {labels.dtype}")
    counted = labels != ignore
    return counted, np.where(counted, labels, np.zeros((), labels.dtype))


def reduced(losses: Any, reduction: str, where: str, shape: tuple[int, ...] | None = None) -> Any:
    """Losses of samples or elements as their mean, their sum, or each by itself, in `shape`. Raises ValueError for any
    other reduction."""
    if reduction == "mean":
        return ops.mean(losses)
    if reduction == "sum":
        return ops.sum(losses)
    if reduction != "none":
        raise ValueError(f"{where}: expected the reduction mean, sum or none, got {reduction!r}")
    return losses if shape is None else ops.reshape(losses, shape)


def categorical_cross_entropy(probabilities: Any, labels: Any) -> Any:
    """The mean over samples of -sum_j p_j log q_j for predicted probabilities q; infinite where the truth has q = 0.

    Takes shapes and labels, and raises, as `cross_entropy` does. Where q comes from a softmax, `cross_entropy` on the
    logits is the exact way.
    """
    probabilities, labels, _ = batch("categorical_cross_entropy", probabilities, labels)
    logs = ops.log(ops.where(labels != 0, probabilities, 1.0))
    return -ops.sum(logs * labels) / float(labels.shape[0])


def mse(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """The mean of (prediction - target)^2 over all elements of two arrays of one shape.

    Raises ValueError for shapes that differ and for no elements at all.
    """
    differences = ops.subtract(*pair("mse", predictions, targets))
    return reduced(ops.multiply(differences, differences), reduction, "mse")


def l1(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """The mean of |prediction - target| over all elements of two arrays of one shape. Raises as `mse` does."""
    return reduced(ops.abs(ops.subtract(*pair("l1", predictions, targets))), reduction, "l1")


def huber(predictions: Any, targets: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    """The mean over all elements of d^2 / 2 where |d| is at most delta, else of delta (|d| - delta / 2), for the
    differences d (Huber, 1964). Raises as `mse` does, and ValueError for a delta that is not above 0."""
    if not number(delta, "huber: delta") > 0.0:
        raise ValueError(f"huber: expected a delta above 0, got {delta}")
    size = ops.abs(ops.subtract(*pair("huber", predictions, targets)))
    near = ops.minimum(size, delta)
    return reduced(near * (size - 0.5 * near), reduction, "huber")


def binary_cross_entropy(logits: Any, targets: Any, positive: Any = None, reduction: str = "mean") -> Any:
    """The mean over all elements of -t log s - (1 - t) log(1 - s), where s = sigmoid(logit), without overflow.

    targets   t, of the logits' shape: 0 or 1, or probabilities
    positive  what t = 1 counts against t = 0: a number, or an array that broadcasts to the logits

    Raises as `mse` does.
    """
    logits, targets = pair("binary_cross_entropy", logits, targets)
    if positive is None:
        return reduced(ops.softplus(logits) - logits * targets, reduction, "binary_cross_entropy")
    counts = 1.0 + (array(positive, "binary_cross_entropy: positive", logits) - 1.0) * targets
    losses = (1.0 - targets) * logits + counts * ops.softplus(ops.negative(logits))
    return reduced(losses, reduction, "binary_cross_entropy")


def kl_divergence(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """The mean over samples of sum_j p_j log(p_j / q_j), where q = softmax(logits): how far the predictions are from
    the probabilities `targets` (..., k), which are not differentiated. Raises as `cross_entropy` does."""
    leading = np.shape(logits)[:-1]
    logits, targets, classes = batch("kl_divergence", logits, targets)
    if classes is not None:
        raise ValueError(f"kl_divergence: expected targets of the shape of the logits, {logits.shape}")
    logs = np.log(np.where(targets != 0, targets, 1.0))
    terms = targets * (logs - ops.where(targets != 0, ops.log_softmax(logits), 0.0))
    return reduced(ops.sum(terms, axis=-1), reduction, "kl_divergence", leading)


def focal(logits: Any, labels: Any, gamma: float = 2.0, reduction: str = "mean") -> Any:
    """The mean over samples of -(1 - q)^gamma log q, where q is the probability of the true class in softmax(logits):
    cross-entropy in which what is right already counts less (Lin et al., 2017). Takes logits (..., k) and class numbers
    (...), and raises as `cross_entropy` does."""
    leading = np.shape(logits)[:-1]
    logits, hot, classes = batch("focal", logits, labels)
    if classes is None:
        raise ValueError(f"focal: expected class numbers of shape {leading}, got probabilities")
    logs = ops.sum(ops.log_softmax(logits) * hot, axis=-1)
    losses = -ops.power(1.0 - ops.exp(logs), number(gamma, "focal: gamma")) * logs
    return reduced(losses, reduction, "focal", leading)


def triplet(anchors: Any, positives: Any, negatives: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """The mean over samples of max(0, |a - p| - |a - n| + margin), with Euclidean distances over the last axis, of
    differences to which 1e-6 is added, so that equal points have a gradient (Schroff et al., 2015)."""

    def distance(a: Any, b: Any) -> Any:
        d = ops.subtract(a, b) + 1e-6
        return ops.sqrt(ops.sum(ops.multiply(d, d), axis=-1))

    anchors, positives = pair("triplet", anchors, positives)
    anchors, negatives = pair("triplet", anchors, negatives)
    losses = ops.relu(distance(anchors, positives) - distance(anchors, negatives) + number(margin, "triplet: margin"))
    return reduced(losses, reduction, "triplet")


def pair(where: str, predictions: Any, targets: Any) -> tuple[Any, Any]:
    """Two arrays of one shape, that is not empty."""
    predictions, targets = arrays(predictions, targets, where)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"{where}: expected targets of shape {predictions.shape} like the predictions, got {targets.shape}"
        )
    if 0 in predictions.shape:
        raise ValueError(f"{where}: expected at least one sample, got shape {predictions.shape}")
    return predictions, targets


def batch(where: str, outputs: Any, labels: Any) -> tuple[Any, Any, Any]:
    """The samples' outputs (n, k), from (..., k), their labels as probabilities (n, k), and as class numbers (n,) if
    they came so."""
    outputs = outputs if hasattr(outputs, "op") else array(outputs, where)
    expected, labels = outputs.shape, labels.peek() if hasattr(labels, "op") else labels
    labels = mode.store.lift(labels if hasattr(labels, "dtype") else nested(labels, where))
    if 0 in expected or not expected:
        raise ValueError(f"{where}: expected at least one sample, got shape {expected}")
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
    if len(expected) != 2:
        outputs, labels = ops.reshape(outputs, (-1, classes)), labels.reshape(-1, classes)
        numbers = None if numbers is None else numbers.reshape(-1)
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
