"""The same mistake in both engines."""

import pytest

import scalar
import vector


def rows(data):
    return [rows(x) for x in data] if isinstance(data, (list, tuple)) else scalar.Value(data)


# Every mistake is written once, for an engine E, its node for a number N, and its nodes for lists of numbers A.
ENGINES = {"scalar": (scalar, scalar.Value, rows), "vector": (vector, vector.Tensor, vector.Tensor)}


def raised(mistake, engine):
    with pytest.raises(Exception) as caught:
        mistake(*ENGINES[engine])
    return type(caught.value), str(caught.value).replace("Tensor", "Value")


def alike(mistake, kind, *words):
    """Both engines raise `kind` with one message that has all the words in it."""
    slow, fast = raised(mistake, "scalar"), raised(mistake, "vector")
    assert slow == fast
    assert slow[0] is kind
    for word in words:
        assert word in slow[1], f"{word!r} is not in {slow[1]!r}"
