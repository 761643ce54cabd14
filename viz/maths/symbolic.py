"""Symbolic numbers: each operation on them gives a value and the expression for it.

The rules on the engines' op pages take floats, arrays or nodes alike. Given `Symbolic` numbers they give formulas:
``g * y`` becomes ``dL/dout * b``. Where a rule branches, the values choose the branch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from viz.maths.letters import symbol
from viz.maths.notation import ATOM, POWER, REST, Term, code, latex, numeral, scientific, stated
from viz.nodes import apply_rules, evaluate

__all__ = ["Name", "Symbolic", "constant", "derive"]


class Name(NamedTuple):
    """A name or an expression, in plain text and in LaTeX."""

    code: Term
    latex: Term


def constant(value: float) -> Name:
    """The expression for a plain number: ``2``, not ``2.0``."""
    value = float(value) + 0.0
    text = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else numeral(value).text
    term = Term(text, POWER if text.startswith("-") else ATOM)
    return Name(term, scientific(term))


class Symbolic:
    """A number or an array and the expression for it; `fixed` marks a plain number, which has no name of its own."""

    op = None  # the engines take anything with an `op` for a node, and hand their ops to its `apply`
    __array_ufunc__ = None  # `array * symbolic` comes to __rmul__
    __hash__ = object.__hash__

    def __init__(self, data: Any, name: Name, fixed: bool = False) -> None:
        self.data, self.name, self.fixed = data, name, fixed

    @staticmethod
    def lift(x: Any) -> Symbolic:
        if isinstance(x, Symbolic):
            return x
        if np.ndim(x):
            return Symbolic(x, Name(REST, Term(r"\ldots")))
        return Symbolic(float(x), constant(x), fixed=True)

    @staticmethod
    def apply(op: Any, inputs: Sequence[Any], params: Any = None) -> Symbolic:
        xs = [Symbolic.lift(x) for x in inputs]
        params = params or {}
        plain = {key: value.data if isinstance(value, Condition) else value for key, value in params.items()}
        with np.errstate(all="ignore"):
            data = evaluate(op, [x.data for x in xs], plain)
        if op.name == "power" and xs[1].fixed and xs[1].data == 1:
            return xs[0]
        if op.name in ("reshape", "broadcast_to", "cast"):  # layout, not calculus
            return Symbolic(data, xs[0].name)
        shown = {key: _Rest() if isinstance(value, np.ndarray) else value for key, value in params.items()}
        return Symbolic(data, _named(op.name, xs, shown))

    # Factors of 1 are dropped and plain numbers computed; all else is written.

    def __add__(self, y: Any) -> Symbolic:
        return self._binary("add", operator.add, self, y)

    def __radd__(self, x: Any) -> Symbolic:
        return self._binary("add", operator.add, x, self)

    def __sub__(self, y: Any) -> Symbolic:
        return self._binary("subtract", operator.sub, self, y)

    def __rsub__(self, x: Any) -> Symbolic:
        return self._binary("subtract", operator.sub, x, self)

    def __mul__(self, y: Any) -> Symbolic:
        return self._binary("multiply", operator.mul, self, y)

    def __rmul__(self, x: Any) -> Symbolic:
        return self._binary("multiply", operator.mul, x, self)

    def __truediv__(self, y: Any) -> Symbolic:
        return self._binary("divide", operator.truediv, self, y)

    def __rtruediv__(self, x: Any) -> Symbolic:
        return self._binary("divide", operator.truediv, x, self)

    def __pow__(self, y: Any) -> Symbolic:
        return self._binary("power", np.power, self, y)

    def __rpow__(self, x: Any) -> Symbolic:
        return self._binary("power", np.power, x, self)

    def __neg__(self) -> Symbolic:
        return Symbolic.lift(-self.data) if self.fixed else Symbolic(-self.data, _named("negative", [self]))

    @staticmethod
    def _binary(name: str, f: Callable[[Any, Any], Any], x: Any, y: Any) -> Symbolic:
        x, y = Symbolic.lift(x), Symbolic.lift(y)
        with np.errstate(all="ignore"):
            data = f(np.asarray(x.data)[()], np.asarray(y.data)[()])
        if x.fixed and y.fixed:
            return Symbolic.lift(data)
        if name == "multiply" and x.fixed and x.data == 1:
            return y
        if name in ("multiply", "divide", "power") and y.fixed and y.data == 1:
            return x
        return Symbolic(data, _named(name, [x, y]))

    # A comparison of floats or plain numbers gives a bool, which chooses a branch; one of arrays, also of those without
    # axes, gives a `Condition`.

    def _compare(self, sign: str, f: Callable[[Any, Any], Any], y: Any) -> Any:
        y = Symbolic.lift(y)
        answer = f(self.data, y.data)
        if isinstance(answer, bool) or (self.fixed and y.fixed):
            return answer
        return Condition(answer, f"{self.name.code.text} {sign} {y.name.code.text}")

    def __lt__(self, y: Any) -> Any:
        return self._compare("<", operator.lt, y)

    def __le__(self, y: Any) -> Any:
        return self._compare("<=", operator.le, y)

    def __gt__(self, y: Any) -> Any:
        return self._compare(">", operator.gt, y)

    def __ge__(self, y: Any) -> Any:
        return self._compare(">=", operator.ge, y)

    def __eq__(self, y: object) -> Any:
        return self._compare("==", operator.eq, y)

    def __ne__(self, y: object) -> Any:
        return self._compare("!=", operator.ne, y)

    # The attributes of an array that rules for arrays use.

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.data)

    @property
    def ndim(self) -> int:
        return np.ndim(self.data)

    @property
    def dtype(self) -> Any:
        return np.asarray(self.data).dtype

    @property
    def mT(self) -> Symbolic:
        names = (Term(f"{self.name.code.within(ATOM)}.T"), Term(f"{self.name.latex.within(ATOM)}^T", POWER))
        return Symbolic(np.asarray(self.data).mT, Name(*names))

    def astype(self, dtype: Any) -> Symbolic:
        return Symbolic(np.asarray(self.data).astype(dtype), self.name)

    def peek(self) -> Any:
        return self.data


class Condition:
    """An array of bools, or one of numpy's, and the text of the comparison."""

    def __init__(self, data: Any, text: str) -> None:
        self.data, self.text, self.dtype = data, text, data.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return bool(self.data)

    def __and__(self, y: Condition) -> Condition:
        return Condition(self.data & y.data, f"{self} and {y}")

    def __or__(self, y: Condition) -> Condition:
        return Condition(self.data | y.data, f"{self} or {y}")

    def astype(self, dtype: Any) -> Symbolic:
        """Ones and zeros."""
        return Symbolic(self.data.astype(dtype), Name(Term(self.text, 0), Term(rf"\text{{{self.text}}}", 0)))


class _Rest:
    """A setting that is too large to write."""

    def __repr__(self) -> str:
        return REST.text


def _named(op: str, xs: Sequence[Symbolic], params: Any = None) -> Name:
    given = stated(params)
    return Name(code(op, [x.name.code for x in xs], given), latex(op, [x.name.latex for x in xs], given))


def derive(node: Any, g: Any, out: Any, xs: Sequence[Any], needed: Sequence[bool]) -> list[Symbolic | None]:
    """The gradient of each input by the rules of `node`'s op, for an upstream gradient `g`; None if not needed.

    A rule of a user's own that takes plain numbers only, as `math.cosh` does, gives the number of the local derivative
    in place of its formula.
    """
    params = dict(getattr(node, "params", None) or {})
    symbols = dict(params)
    for key, value in params.items():
        if isinstance(value, np.ndarray):  # written by its name; arrays of bools are conditions
            symbols[key] = (
                Condition(value, key) if value.dtype == bool else Symbolic(value, Name(Term(key), Term(symbol(key))))
            )
    try:
        slopes = apply_rules(node.op, g, out, xs, symbols, needed)
    except Exception:  # whatever a rule does with what is no number; a fault of its own comes once more below
        slopes = _in_numbers(node.op, g, out, xs, params, needed)
    return [Symbolic.lift(slope) if need else None for slope, need in zip(slopes, needed, strict=True)]


def _in_numbers(op: Any, g: Any, out: Any, xs: Sequence[Any], params: Any, needed: Sequence[bool]) -> list[Any]:
    """What the rules make of numbers alone: the upstream gradient times the local derivative, which has no formula."""
    upstream, numbers = g.data, [x.data for x in xs]
    amounts = apply_rules(op, upstream, out.data, numbers, params, needed)
    if any(np.ndim(x) for x in (out.data, *numbers)):
        return [amount if need else None for amount, need in zip(amounts, needed, strict=True)]
    slopes = apply_rules(op, 1.0, out.data, numbers, params, needed)
    named = [
        Symbolic(slope, Name(numeral(slope), scientific(numeral(slope)))) if need else None
        for slope, need in zip(slopes, needed, strict=True)
    ]
    return [slope and Symbolic(amount, (g * slope).name) for slope, amount in zip(named, amounts, strict=True)]
