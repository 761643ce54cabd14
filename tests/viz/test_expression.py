"""Typed expressions: read as Python reads them, or refused with the column of the error."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viz_samples import scalar_nodes

import scalar
import viz
from scalar import Value
from viz.__main__ import FUNCTIONS
from viz.expression import Mistake, parse
from viz.nodes import in_order


@pytest.mark.parametrize("name", sorted(scalar.ops.OPS))
def test_a_formula_can_be_typed_back(name: str) -> None:
    """What viz.formula writes, the command line reads: the same number to the last bit, and the same slopes."""
    node = scalar_nodes()[name]
    text = viz.formula(node).text.removeprefix("L = ")
    again = parse(text, {x.label: x.data for x in node.inputs}, FUNCTIONS, Value)
    assert again.data == node.data
    leaves = [x for x in in_order([again]) if x.label]
    assert dict(zip([x.label for x in leaves], scalar.grad(again, leaves), strict=True)) == dict(
        zip([x.label for x in node.inputs], scalar.grad(node, list(node.inputs)), strict=True)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-a**2", -4.0),
        ("  a + 1", 3.0),
        ("+a", 2.0),
        ("where(a > 1, a, b)", 2.0),
        ("where(a == 2, a, b)", 2.0),
        ("var([a, b], 1)", 12.5),
        ("sum([a, b, 1])", 0.0),
        ("a + sum([])", 2.0),
        ("dot([a, 1], [b, 2])", -4.0),
        ("leaky_relu(b, 0.5)", -1.5),
        ("clip(a*b, low=-1, high=1)", -1.0),
        ("2**0.5 * a", 2.0 * math.sqrt(2.0)),
        ("a\n+\nb", -1.0),
    ],
)
def test_expressions_are_read_as_python_reads_them(text: str, value: float) -> None:
    values = {name: {"a": 2.0, "b": -3.0}[name] for name in re.findall(r"\b[ab]\b", text)}
    assert parse(text, values, FUNCTIONS, Value).data == value


LETTERS = st.sampled_from(["a", "b", "1.5", "2"])


TEXTS = st.recursive(
    LETTERS,
    lambda part: st.one_of(
        st.builds("({} {} {})".format, part, st.sampled_from("+-*"), part),
        st.builds("-{}".format, part),
        st.builds("tanh({})".format, part),
    ),
    max_leaves=12,
)


@given(TEXTS)
def test_any_expression_has_pythons_value(text: str) -> None:
    values = {name: x for name, x in {"a": 0.7, "b": -1.3}.items() if name in text.replace("tanh", "")}
    wanted = eval(text, {"tanh": lambda x: float(np.tanh(x)), **values})
    assert parse(text, values, FUNCTIONS, Value).data == wanted


@given(st.text(max_size=60))
def test_whatever_is_typed_is_an_expression_or_a_mistake(text: str) -> None:
    try:
        parse(text, {}, FUNCTIONS, Value)
    except Mistake as mistake:
        assert str(mistake).startswith("column ")


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("tanh(a + d)", 10, "no value for d; add d=..."),
        ("a + sigmiod(a)", 5, "unknown function sigmiod; did you mean sigmoid?"),
        ("a + qq(a)", 5, "unknown function qq; there are abs, add, "),
        ("1 + 1/(a - 2)", 8, "division by zero"),
        ("a * log(0)", 5, "log(0) is -inf, not a finite number"),
        ("1e999 * a", 1, "1e999 is inf, not a finite number"),
        ("a +* 2", 4, "expected an expression: invalid syntax"),
        ("(a", 1, "expected an expression: '(' was never closed"),
        ("", 1, "expected an expression, got none"),
        ("  ", 1, "expected an expression, got none"),
        ("a # b", 3, "expected an expression, got a comment"),
        ("a + " + "9" * 5000, 5, "expected numbers of fewer than 4,300 digits"),
        ("a + " + "9" * 400, 5, "expected a number that a float can hold"),
        ("a + leaky_relu(a, **a)", 5, "leaky_relu: expected each setting once, as name=value"),
        ("leaky_relu(a, slope=1, slope=2)", 1, "leaky_relu: expected each setting once, as name=value"),
        ("a.data", 1, "expected numbers, names, + - * / ** and functions, got a.data"),
        ("a + a[0]", 5, "got a[0]"),
        ("'x' * a", 1, "got 'x'"),
        ("(lambda: a)()", 12, "an operator is missing: write (...)*(...)"),
        ("a + (a > 1)", 1, "expected numbers, got a condition"),
        ("[a, a]", 1, "expected a number, got a list"),
        ("a + max(a)", 5, "max: expected a sequence, got Value"),
        ("power(a)", 1, "power: expected 2 inputs, got 1"),
        ("leaky_relu(1, a)", 1, "leaky_relu: expected a plain value for slope, got a node"),
        ("where(a, a, a)", 1, "where: expected a bool condition"),
        ("a ^ 2", 3, "write ** for ^"),
        ("a − 2", 3, "write - for −"),
        ("a²", 2, "write **2 for ²"),
        ("2a + 1", 2, "an operator is missing: write 2*a"),
        ("(a + 1)(a - 1)", 8, "an operator is missing: write (...)*(...)"),
        ("sin a", 5, "brackets are missing: write sin(a)"),
        ("1 + ln(a)", 5, "unknown function ln; write log"),
        ("f(a)", 1, "unknown function f; write f*(...) for a product"),
        ("a +", 4, "expected an expression: invalid syntax"),
        ("where(a > 1, a)", 1, "where: expected a condition and two inputs"),
        ("1", 1, "expected values for names in the expression only, got a="),
        ("tanh * a", 1, "tanh is a function: call it, tanh(...)"),
        ("ä + a + z", 1, "no value for ä"),
        ("a + 'ä' + z", 5, "got 'ä'"),
        ("a + \ud800", 1, "expected an expression: 'utf-8' codec can't encode"),
        ("a + 0x" + "f" * 300, 5, "expected a number that a float can hold"),
        ("1if a else a", 1, "expected numbers, names, + - * / ** and functions, got 1if a else a"),
        ("9**9**9 * a", 1, "9**9**9 is inf, not a finite number"),
        ("(" * 10_000 + "a" + ")" * 10_000, 10_001, "expected at most 10,000 characters, got 20,001"),
        ("(" * 4000 + "a" + ")" * 4000, 101, "expected at most 100 brackets within each other"),
        ("-" * 9000 + "a", 101, "expected at most 100 signs or powers in a row"),
        ("**".join(["a"] * 3000), 302, "expected at most 100 signs or powers in a row"),
        ("a+" * 500_000 + "a", 10_001, "expected at most 10,000 characters, got 1,000,001"),
        ("tanh(" * 10_000 + "a" + ")" * 10_000, 10_001, "expected at most 10,000 characters"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, column: int, what: str) -> None:
    with pytest.raises(Mistake) as error:
        parse(text, {"a": 2.0}, FUNCTIONS, Value)
    assert str(error.value).startswith(f"column {column}: ")
    assert what in str(error.value)
    _, shown, caret = error.value.picture.partition("\n")[0], *error.value.picture.split("\n")
    assert caret.endswith("^") and len(shown) < 80
    if column <= min(len(text), 40):
        assert shown[len(caret) - 1] == text[column - 1]


def test_a_long_sum_is_read_or_refused_without_a_traceback() -> None:
    assert parse("+".join(["a"] * 300), {"a": 1.0}, FUNCTIONS, Value).data == 300.0
    with pytest.raises(Mistake, match=r"too deep to read; sum\(\[a, b, ...\]\)"):
        parse("+".join(["a"] * 5000), {"a": 1.0}, FUNCTIONS, Value)


def test_a_condition_is_written_as_it_was_typed() -> None:
    node = parse("where(a > 2*b, a, 0.1*a)", {"a": 2.0, "b": -3.0}, FUNCTIONS, Value)
    assert viz.formula(node).text == "L = where(a > 2*b, a, 0.1 * a)"
    assert "where(a > 2*b, a, 0.1 * a)" in str(viz.steps(node)[0])
