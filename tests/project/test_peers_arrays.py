"""Factorizations and images as PyTorch has them, where its own samples do not tell: value, first and second order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import vector

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def agree(
    ours: Callable[..., Any], theirs: Callable[..., Any], arrays: Sequence[np.ndarray], close: float = 1e-10
) -> None:
    """Value, slopes, and the slopes of their weighed sum."""

    def weights(shape: Sequence[int]) -> np.ndarray:
        return 1.0 + np.cos(np.arange(np.prod(shape))).reshape(shape) / 2.0

    nodes, leaves = [vector.Tensor(x) for x in arrays], [torch.tensor(x, requires_grad=True) for x in arrays]
    found, expected = [ours(*nodes)], [theirs(*leaves)]
    found += vector.grad(vector.sum(found[0] * weights(found[0].shape)), nodes, create_graph=True)
    total = (expected[0] * torch.tensor(weights(expected[0].shape))).sum()
    expected += torch.autograd.grad(total, leaves, create_graph=True)
    again = vector.grad(sum([vector.sum(s * weights(s.shape)) for s in found[1:]], vector.Tensor(0.0)), nodes)
    total = sum([(s * torch.tensor(weights(s.shape))).sum() for s in expected[1:]])
    second = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)
    pairs = [(a.data, b.detach().numpy()) for a, b in zip(found, expected, strict=True)]
    pairs += [(a, np.zeros(a.shape) if b is None else b.numpy()) for a, b in zip(again, second, strict=True)]
    for a, b in pairs:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=close, atol=close)


RNG = np.random.default_rng(0)
SQUARES = [(3, 3), (2, 4, 4), (1, 1), (2, 1, 2, 2)]
FACTORS: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Any]]] = {
    "eigh": (vector.eigh, torch.linalg.eigh, SQUARES),
    "svd": (vector.svd, lambda x: torch.linalg.svd(x, full_matrices=False), [*SQUARES, (4, 2), (2, 2, 3)]),
    "qr": (vector.qr, torch.linalg.qr, [*SQUARES, (4, 2), (2, 3, 2)]),
    "wide qr": (vector.qr, torch.linalg.qr, [(2, 3), (2, 2, 4)]),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors(name: str) -> None:
    """Their squares, since the vectors are right with either sign."""
    ours, theirs, shapes = FACTORS[name]
    for shape in shapes:
        x = RNG.normal(size=shape) + np.eye(*shape[-2:]) * np.arange(3.0, 3.0 + 4 * shape[-1], 4.0)

        def prepared(x: Any, name: str = name) -> Any:
            return (x + x.mT) * 0.5 if name == "eigh" else x

        agree(
            lambda x: vector.concatenate([z * z for z in ours(prepared(x))], None),
            lambda x: torch.cat([(z * z).flatten() for z in theirs(prepared(x))]),
            [x],
        )


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampled(mode: str) -> None:
    for shape, factor in [((2, 3, 2, 2), (2, 3)), ((1, 1, 4, 1), (3, 1)), ((1, 2, 2, 3), (2, 2))]:
        agree(
            lambda x, f=factor: vector.upsample(x, f, mode),
            lambda x, f=factor: torch.nn.functional.interpolate(
                x.permute(0, 3, 1, 2), scale_factor=tuple(map(float, f)), mode=mode
            ).permute(0, 2, 3, 1),
            [RNG.normal(size=shape)],
        )


def test_pools_that_overlap() -> None:
    for size, stride, padding in [(3, 1, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), (2, 3, 1)]:
        for ours, theirs in [
            (vector.max_pool, torch.nn.functional.max_pool2d),
            (vector.avg_pool, torch.nn.functional.avg_pool2d),
        ]:
            agree(
                lambda x, f=ours, a=(size, stride, padding): f(x, *a) ** 2,
                lambda x, f=theirs, a=(size, stride, padding): f(x.permute(0, 3, 1, 2), *a).permute(0, 2, 3, 1) ** 2,
                [RNG.normal(size=(2, 5, 6, 3))],
            )
