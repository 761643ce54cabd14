"""The ranks where there is one process, and what ranks say of each other."""

import sys

import numpy as np
import pytest

import vector
from vector.distributed import ALONE, Ranks, by_rank


@pytest.mark.parametrize(
    "values, verbs, text",
    [
        ([4, 4, 3, 4], ("has", "have"), "rank 2 has 3, ranks 0, 1 and 3 have 4"),
        ([3, 4], ("has", "have"), "rank 1 has 4, rank 0 has 3"),
        (["its end", "the sum", "the sum"], ("is at", "are at"), "rank 0 is at its end, ranks 1 and 2 are at the sum"),
    ],
)
def test_who_differs_is_named_first(values, verbs, text):
    assert by_rank(dict(enumerate(values)), *verbs) == text


def test_one_process_has_all():
    p = vector.Tensor(np.ones(3), "p")
    loss = vector.sum(p * p)
    loss.backward()
    assert ALONE.sum_gradients([p], loss) is loss
    assert p.grad.tolist() == [2.0, 2.0, 2.0]
    assert ALONE.gather("numbers", 5) == [5] and ALONE.agree("numbers", 5, "more") == ["more"]
    assert ALONE.first and ALONE.once("a number", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        ALONE.once("a number", lambda: 1 // 0)


def test_without_mpi_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'twograd\[mpi\]'"):
        Ranks()
