"""Losses against PyTorch's, float64: values and gradients, over all their options."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vector

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
RNG = np.random.default_rng(0)


def compare(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], x: np.ndarray) -> None:
    a, b = vector.Tensor(x), torch.tensor(x, requires_grad=True)
    one, other = ours(a), theirs(b)
    np.testing.assert_allclose(one.data, other.detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = RNG.normal(size=one.shape)
    one.backward(weights)
    other.backward(torch.tensor(weights))
    np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(lead: tuple[int, ...], reduction: str) -> None:
    x, weight = RNG.normal(size=(*lead, 4)), RNG.random(4)
    classes, probabilities = RNG.integers(0, 4, lead), RNG.dirichlet(np.ones(4), lead)
    aside = np.where(np.arange(np.size(classes)).reshape(lead) % 2, classes, -7)

    for smoothing, w, (labels, ignore) in itertools.product(
        (0.0, 0.1), (None, weight), ((classes, None), (probabilities, None), (aside, -7))
    ):
        if ignore is not None and not lead:
            continue

        def ours(t: Any, labels: Any = labels, smoothing: float = smoothing, w: Any = w, ignore: Any = ignore) -> Any:
            return vector.cross_entropy(t, labels, w, smoothing, ignore, reduction)

        def theirs(t: Any, labels: Any = labels, smoothing: float = smoothing, w: Any = w) -> Any:
            rows = torch.tensor(np.reshape(labels, (-1, *np.shape(labels)[len(lead) :])))
            kept = None if w is None else torch.tensor(w)
            out = torch.nn.functional.cross_entropy(
                t.reshape(-1, 4), rows, kept, ignore_index=-7, label_smoothing=smoothing, reduction=reduction
            )
            return out.reshape(lead) if reduction == "none" else out

        compare(ours, theirs, x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(reduction: str) -> None:
    f, t = torch.nn.functional, torch.tensor
    x, zeros_and_ones, positive = RNG.normal(size=(5, 4)), RNG.integers(0, 2, (5, 4)) * 1.0, RNG.random(4)
    other, third, p = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4)), RNG.dirichlet(np.ones(4), 5)

    def divergence(z: Any) -> Any:
        terms = f.kl_div(torch.log_softmax(z, -1), t(p), reduction="none").sum(-1)
        return terms if reduction == "none" else getattr(terms, reduction)()

    pairs: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
        (
            lambda z: vector.binary_cross_entropy(z, zeros_and_ones, reduction=reduction),
            lambda z: f.binary_cross_entropy_with_logits(z, t(zeros_and_ones), reduction=reduction),
        ),
        (
            lambda z: vector.binary_cross_entropy(z, zeros_and_ones, positive, reduction),
            lambda z: f.binary_cross_entropy_with_logits(
                z, t(zeros_and_ones), pos_weight=t(positive), reduction=reduction
            ),
        ),
        (
            lambda z: vector.huber(z, other, 0.7, reduction),
            lambda z: f.huber_loss(z, t(other), delta=0.7, reduction=reduction),
        ),
        (lambda z: vector.l1(z, other, reduction), lambda z: f.l1_loss(z, t(other), reduction=reduction)),
        (lambda z: vector.mse(z, other, reduction), lambda z: f.mse_loss(z, t(other), reduction=reduction)),
        (lambda z: vector.kl_divergence(z, p, reduction), divergence),
        (
            lambda z: vector.triplet(z, other, third, reduction=reduction),
            lambda z: f.triplet_margin_loss(z, t(other), t(third), reduction=reduction),
        ),
    ]
    for ours, theirs in pairs:
        compare(ours, theirs, x)
