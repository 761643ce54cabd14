"""The page of functions says what is there: every name in its rows is tried."""

from pathlib import Path

import numpy as np
import pytest

import vector

PAGE = (Path(__file__).parents[2] / "docs" / "functions.md").read_text()
HAVE = """
exp log logaddexp log1p expm1 exp2 log2 log10 abs sign floor ceil round mod maximum minimum clip where arctan2
hypot reciprocal square cbrt sum mean prod var std max min cumsum sort argmax argmin reshape ravel transpose
swapaxes moveaxis squeeze expand_dims broadcast_to concatenate stack hstack vstack split repeat tile roll flip
pad tril triu diag trace take take_along_axis dot matmul inner outer kron tensordot einsum
""".split()
HAVE_NOT = "partition gradient diff cross array_split rot90 rollaxis column_stack fliplr flipud".split()
LINALG = {"inv": True, "det": True, "slogdet": True, "solve": True, "cholesky": True, "eigh": True, "svd": True}
LINALG |= {"qr": True, "norm": True, "eig": False, "pinv": False, "matrix_power": False}


@pytest.mark.parametrize("name", HAVE)
def test_what_there_is(name):
    assert name in PAGE and callable(getattr(vector, name)) and hasattr(np, name)


@pytest.mark.parametrize("name", HAVE_NOT)
def test_what_there_is_not(name):
    assert name in PAGE and not hasattr(vector, name)
    arguments = {"partition": (1,), "array_split": (2,), "rollaxis": (1,)}.get(name, ())
    t = vector.Tensor(np.arange(9.0).reshape(3, 3))
    given = ([t, t],) if name == "column_stack" else (t, t) if name == "cross" else (t, *arguments)
    with pytest.raises(TypeError, match="is not differentiable here"):
        getattr(np, name)(*given)


@pytest.mark.parametrize("name", LINALG)
def test_linear_algebra(name):
    assert name in PAGE
    t = vector.Tensor(np.array([[2.0, 0.5], [0.5, 1.0]]))
    more = {"solve": (np.ones((2, 1)),), "matrix_power": (2,)}.get(name, ())
    if LINALG[name]:
        assert getattr(np.linalg, name)(t, *more) is not None and hasattr(vector, name)
    else:
        with pytest.raises(TypeError, match="is not differentiable here"):
            getattr(np.linalg, name)(t, *more)


def test_complex_numbers_and_fft():
    t = vector.Tensor([1.0, 2.0])
    for wrong, message in (
        (lambda: np.fft.fft(t), "numpy's fft is not differentiable here"),
        (lambda: t * 1j, "expected a real number, got complex"),
        (lambda: vector.Tensor([1j]), "expected a real number, got complex"),
    ):
        with pytest.raises(TypeError, match=message):
            wrong()
