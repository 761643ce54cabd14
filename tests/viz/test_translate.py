"""Python as JavaScript: what an op page may hold is translated, all else is refused by name and line."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from viz.player.translate import expression, translate


def test_python_is_translated_as_it_is_meant() -> None:
    assert expression("low < x and not xs") == "(M.lt(low, x) && !M.truth(xs))"
    assert (
        expression("0.0 if a <= x < b else -g / 2") == "((M.le(a, x) && M.lt(x, b)) ? 0.0 : M.divide(M.negative(g), 2))"
    )
    assert expression("[np.exp(x) for x in xs]") == 'xs.map((x) => M["np.exp"](x))'
    assert expression("[g] * xs_shape[0]") == "M.multiply([g], xs_shape[0])"


@pytest.mark.parametrize(
    "source", ["x ** y", "{1: 2}", "len(x, key=1)", "np.fft(x)", "[x for x in xs if x]", "open(x)"]
)
def test_what_has_no_translation_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="no JavaScript for line 1"):
        expression(source)


PAGE = """
from types import SimpleNamespace

def op(*rules, over=False):
    return lambda forward: SimpleNamespace(forward=forward)

@op(lambda g, out, x, other: g)
def renamed(x, slope=1.0):
    return x

@op(lambda g, out, x: g)
def loop(x):
    while x:
        return x

def rule(g, xs):
    return [g for x in xs]

@op(lambda g, slope: slope * g)
def few(x, slope=1.0):
    return x

@op(rule, lambda g, xs_shape: [g] * xs_shape[0], over=True)
def named(xs, ys):
    return xs
"""


@pytest.fixture
def odd_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "odd_page.py").write_text(PAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_page", raising=False)
    return importlib.import_module("odd_page")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("renamed", "renamed: no JavaScript for line 7: lambda g, out, x, other: g"),
        ("loop", "loop: .* line 13: while x"),
    ],
)
def test_an_op_page_without_a_translation_is_named(name: str, what: str, odd_page: ModuleType) -> None:
    with pytest.raises(ValueError, match=f"translate: {what}"):
        translate([getattr(odd_page, name)])


def test_a_rule_is_given_what_it_names(odd_page: ModuleType) -> None:
    text = translate([odd_page.few, odd_page.named])
    assert "rules: [(M, g, out, x, slope) => M.multiply(slope, g)]" in text
    assert "rules: [(M, g, out, xs, ys, xs_shape = [xs.length], ys_shape = [ys.length]) => rule(M, g, xs), " in text
    assert "function rule(M, g, xs) { return xs.map((x) => g); }" in text
