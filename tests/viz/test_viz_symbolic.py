"""Symbolic numbers: the value and the expression of each operation."""

import numpy as np

import vector
import viz
from viz.maths.notation import Term
from viz.maths.symbolic import Name, Symbolic


def test_numbers_write_down_what_is_done_to_them() -> None:
    x = Symbolic(3.0, Name(Term("x"), Term("x")))
    done = [2 + x, x + 2, 2 - x, x - 2, 2 * x, x * 1, 2 / x, x / 1, -x]
    assert [each.name.code.text for each in done] == "2 + x|x + 2|2 - x|x - 2|2 * x|x|2 / x|x|-x".split("|")
    assert [each.data for each in done] == [5.0, 5.0, -1.0, 1.0, 6.0, 3.0, 2 / 3, 3.0, -3.0]
    assert [x < 3, x <= 3, x > 3, x >= 3, x == 3, x != 3] == [False, True, False, True, True, False]
    v = Symbolic(np.arange(3.0), Name(Term("v"), Term("v")))
    assert str((v >= 1) & (v <= 2)) == "v >= 1 and v <= 2" and str((v > 1) | (v < 1)) == "v > 1 or v < 1"
    assert v.astype(np.float32).data.dtype == np.float32 and v.astype(np.float32).name == v.name
    picked = Symbolic.apply(vector.ops.OPS["index"], [v], {"key": np.array([2, 0])})
    assert picked.name.code.text == "index(v, key=…)" and picked.data.tolist() == [2.0, 0.0]


def test_a_tensor_without_axes_is_told_as_an_array_is() -> None:
    """Its comparisons choose, and they count as 1 and 0, as those of arrays do."""
    x = vector.Tensor(2.0, "x")
    assert viz.steps(x.relu())[0].text == "dL/dx += dL/dL * (L > 0) = 1.0 * (2.0 > 0) = 1.0"
    assert viz.steps(x**3)[0].text == "dL/dx += dL/dL * 3 * x**2 = 1.0 * 3 * 2.0**2 = 12.0"
