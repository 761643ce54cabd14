"""PyTorch at awkward numbers, one by one: value, first and second derivative agree, but for the points listed."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from judging import elementwise

import scalar
import vector

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

POINTS = [0.0, -0.0, 1e-8, 1e-3, 0.5, 1.0, 1.5, 3.0, 18.0, 40.0, 800.0, 1e10, 1e200]
POINTS = [*POINTS, *(-x for x in POINTS)]
PAIRS = list(itertools.product([0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, 1e200, -1e-200], repeat=2))
THEIRS = {
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "mod": torch.remainder,
    "power": torch.pow,
}
OWN = {"leaky_relu", "clip", "where", "cbrt"}  # that have other settings there, or are not there
# Where they differ, and why what is here is meant.
DIFFERENT = {
    "arctan2": lambda x, y: max(abs(x), abs(y)) < 1e-100,  # the squares are 0 there
    "arccosh": lambda x: x < 1.0,  # outside of its domain, where PyTorch has a slope
    "elu": lambda x: x == 0.0,  # a corner of the derivative
    "gelu": lambda x: abs(x) > 1e100,  # inf times 0 there
    "gelu_tanh": lambda x: abs(x) > 1e100,
    "hypot": lambda x, y: x == y == 0.0,  # 0, the subgradient of least norm; NaN there
    "logaddexp": lambda x, y: max(x, y) > 1e100,  # the second derivative is NaN there
    "mod": lambda x, y: y == 0.0,  # the value is NaN
    "power": lambda x, y: x <= 0.0 or y > 1e100,  # by the exponent, which is of no use there
    "selu": lambda x: x == 0.0,  # the subgradient of least norm
}


def by_us(f: Any, numbers: tuple[float, ...]) -> list[float]:
    xs = [vector.Tensor(x) for x in numbers]
    out = f(*xs)
    slopes = vector.grad(out, xs, create_graph=True)
    second = vector.grad(slopes[0], xs[0]) if slopes[0].requires_grad else 0.0
    return [float(out.data), *(float(s.data) for s in slopes), float(second)]


def by_torch(f: Any, numbers: tuple[float, ...]) -> list[float]:
    xs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in numbers]
    out = f(*xs)
    slopes = torch.autograd.grad(out, xs, create_graph=True)
    (second,) = torch.autograd.grad(slopes[0], xs[:1], allow_unused=True) if slopes[0].requires_grad else (None,)
    return [x.item() for x in (out, *slopes)] + [0.0 if second is None else second.item()]


@pytest.mark.parametrize("name", [name for name in elementwise() if name not in OWN])
@pytest.mark.filterwarnings("ignore")
def test_awkward_numbers(name: str) -> None:
    theirs = THEIRS.get(name) or getattr(torch, name, None) or getattr(torch.nn.functional, name)
    different = DIFFERENT.get(name, lambda *numbers: False)
    compared = 0
    for numbers in [(x,) for x in POINTS] if len(scalar.ops.OPS[name].rules) == 1 else PAIRS:
        if not different(*numbers):
            with np.errstate(all="ignore"):
                found = by_us(getattr(vector, name), numbers)
            expected = by_torch(theirs, numbers)
            assert np.allclose(found, expected, rtol=1e-10, atol=1e-10, equal_nan=True), (numbers, found, expected)
            compared += math.isfinite(expected[0])
    assert compared >= 5
