"""Numbers and operations as cards show them."""

import pytest

from viz.maths.letters import plain
from viz.maths.notation import Term, number, write


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (24.70408, "24.7"),
        (138.8338, "138.8"),
        (-123456.0, "−123456"),
        (1e6, "1e6"),
        (-1.25e-8, "−1.25e−8"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (float("nan"), "nan"),
        (float("-inf"), "−inf"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("add", [Term("a − b", 1), Term("c − d", 1)], "a − b + c − d"),
        ("subtract", [Term("a − b", 1), Term("c − d", 1)], "a − b − (c − d)"),
        ("divide", [Term("a / b", 2), Term("c / d", 2)], "a / b / (c / d)"),
        ("multiply", [Term("a + b", 1), Term("−c", 1)], "(a + b) × (−c)"),
        ("negative", [Term("a × b", 2)], "−a × b"),
        ("power", [Term("x²", 3), Term("−2", 1)], "(x²)⁻²"),
        ("power", [Term("x"), Term("y + 1", 1)], "x^(y + 1)"),
        ("power", [Term("x"), Term("0.5")], "x^0.5"),
        ("sum", [Term("a"), Term("…"), Term("…"), Term("b")], "sum(a, …, b)"),
    ],
)
def test_operations_are_written_as_people_do(name: str, args: list[Term], text: str) -> None:
    assert write(name, args).text == text


def test_arguments_are_written_short() -> None:
    assert write("take", [Term("x")], {"key": list(range(10**6)), "axis": None, "low": -1}).text == "take(x, …, low=−1)"
    assert plain("a\u202eb") == "a�b"
