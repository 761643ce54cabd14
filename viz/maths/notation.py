"""Operations in three notations, and numbers to read at a glance.

write   on cards             ``a × b``, ``x²``, ``√x``, ``|x|``
code    maths in plain text  ``a * b``, ``x**2``, ``sqrt(x)``; the command line reads it back
latex   papers, notebooks    ``a \\cdot b``, ``x^{2}``, ``\\sqrt{x}``
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from viz.maths.letters import escaped

__all__ = [
    "CODE",
    "REST",
    "Term",
    "code",
    "decimal",
    "latex",
    "literal",
    "number",
    "numeral",
    "operand",
    "stated",
    "write",
]

SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4  # how tightly a term holds together
Signs = Mapping[str, tuple[str, int]]


class Term(NamedTuple):
    """The text of an expression and how tightly its outermost operation binds."""

    text: str
    tightness: int = ATOM

    def within(self, tightness: int) -> str:
        """The text, in parentheses where the surroundings bind more tightly."""
        return self.text if self.tightness >= tightness else f"({self.text})"


REST = Term("…")  # a part that is left out
INFIX: Signs = {
    "add": ("+", SUM),
    "subtract": ("−", SUM),
    "multiply": ("×", PRODUCT),
    "divide": ("/", PRODUCT),
    "matmul": ("@", PRODUCT),
}
CODE: Signs = {**INFIX, "subtract": ("-", SUM), "multiply": ("*", PRODUCT)}
TEX: Signs = {**INFIX, "subtract": ("-", SUM), "multiply": (r"\cdot", PRODUCT), "matmul": (r"\,", PRODUCT)}
TEX_NAMES = {name: rf"\{name}" for name in "sin cos tan arcsin arccos arctan sinh cosh tanh log max min".split()}
TEX_NAMES |= {"log2": r"\log_2", "log10": r"\log_{10}"}
SUPERSCRIPT = str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write(name: str, args: Sequence[Term], params: Mapping[str, Any] | None = None) -> Term:
    """Write the operation `name` on `args` as on a card.

    >>> a, b = Term("a"), Term("b")
    >>> write("multiply", [write("add", [a, b]), a]).text
    '(a + b) × a'
    >>> write("power", [a, Term("2")]).text, write("leaky_relu", [a], {"slope": 0.01}).text
    ('a²', 'leaky_relu(a, slope=0.01)')
    >>> write("sqrt", [a]).text, write("abs", [write("subtract", [a, b])]).text
    ('√a', '|a − b|')
    >>> write("where", [a, b], {"condition": True}).text
    'where(True, a, b)'
    """
    if name == "where" and len(args) == 2 and "condition" in (params or {}):
        condition = _short(str((params or {})["condition"]))
        return Term(f"where({', '.join(_merged([condition, *(arg.text for arg in args)]))})")
    given = [_argument(key, value) for key, value in (params or {}).items() if value is not None]
    if not given:
        if len(args) == 2 and name in INFIX:
            return _infix(INFIX, name, args, loose=name == "add")
        match name, list(args):
            case "negative", [x]:
                return Term(f"−{x.within(PRODUCT)}", SUM)
            case "abs", [x]:
                return Term(f"|{x.text}|")
            case (("sqrt" | "cbrt"), [x]):
                return Term(f"{'√' if name == 'sqrt' else '∛'}{x.within(ATOM)}", POWER)
            case (("floor" | "ceil"), [x]):
                return Term(f"⌊{x.text}⌋" if name == "floor" else f"⌈{x.text}⌉")
            case "square", [x]:
                return Term(f"{x.within(ATOM)}²", POWER)
            case "power", [x, y] if set(y.text) <= set("−0123456789"):
                return Term(x.within(ATOM) + y.text.translate(SUPERSCRIPT), POWER)
            case "power", [x, y]:
                return Term(f"{x.within(ATOM)}^{y.within(ATOM)}", POWER)
    return Term(f"{name}({', '.join(_merged([arg.text for arg in args] + given))})")


def code(name: str, args: Sequence[Term], params: Mapping[str, Any] | None = None) -> Term:
    """Write the operation `name` on `args` as Python reads it, with the parentheses that rounding depends on.

    >>> a, b = Term("a"), Term("b")
    >>> code("add", [a, code("add", [b, a])]).text, code("power", [a, Term("2")]).text
    ('a + (b + a)', 'a**2')
    >>> code("dot", [a, b, b, a]).text, code("clip", [a], {"low": -1.0, "high": 1.0}).text
    ('dot([a, b], [b, a])', 'clip(a, low=-1.0, high=1.0)')
    """
    if len(args) == 2 and name in CODE and not params:
        return _infix(CODE, name, args)
    given = [f"{key}={_short(repr(value))}" for key, value in (params or {}).items() if value is not None]
    texts = [arg.text for arg in args]
    match name, list(args):
        case "negative", [x]:
            return Term(f"-{x.within(POWER)}" if not x.text.startswith("-") else f"-({x.text})", PRODUCT)
        case "power", [x, y]:
            return Term(f"{x.within(ATOM)}**{y.within(ATOM)}", POWER)
        case "where", [x, y]:
            return Term(f"where({_short(str((params or {})['condition']))}, {x.text}, {y.text})")
        case "var" | "std", _ if "axis" not in (params or {}):
            return Term(f"{name}([{', '.join(_merged(texts))}], {', '.join(given)})")
        case "sum" | "prod" | "norm" | "mean" | "max" | "min" | "logsumexp", _ if not params:
            return Term(f"{name}([{', '.join(_merged(texts))}])")
        case "dot", _:
            half = len(args) // 2
            return Term(f"dot([{', '.join(_merged(texts[:half]))}], [{', '.join(_merged(texts[half:]))}])")
    return Term(f"{name}({', '.join(_merged([*texts, *given]))})")


def latex(name: str, args: Sequence[Term], params: Mapping[str, Any] | None = None) -> Term:
    r"""Write the operation `name` on `args` in LaTeX.

    >>> a, b = Term("a"), Term("b")
    >>> latex("divide", [a, latex("add", [a, b])]).text, latex("tanh", [a]).text
    ('\\frac{a}{a + b}', '\\tanh(a)')
    """
    if len(args) == 2 and name in TEX and name != "divide" and not params:
        return _infix(TEX, name, args, loose=name in ("add", "multiply"))
    given = [_setting(key, value) for key, value in (params or {}).items() if value is not None]
    match name, list(args):
        case "negative", [x]:
            return Term(f"-{x.within(PRODUCT)}" if not x.text.startswith("-") else f"-({x.text})", SUM)
        case "divide", [x, y]:
            return Term(rf"\frac{{{x.text}}}{{{y.text}}}", POWER)
        case "power", [x, y]:
            return Term(f"{x.within(ATOM)}^{{{y.text}}}", POWER)
        case "square", [x]:
            return Term(f"{x.within(ATOM)}^2", POWER)
        case (("exp" | "exp2"), [x]):
            return Term(f"{'e' if name == 'exp' else '2'}^{{{x.text}}}", POWER)
        case (("sqrt" | "cbrt"), [x]):
            return Term(rf"\sqrt{'[3]' if name == 'cbrt' else ''}{{{x.text}}}")
        case (("floor" | "ceil"), [x]):
            return Term(rf"\l{name}{{{x.text}}}\r{name}")
        case "abs", [x]:
            return Term(rf"\left|{x.text}\right|")
        case "where", [x, y] if "condition" in (params or {}):
            condition = escaped(_short(str((params or {})["condition"])))
            rows = rf"{x.text} & \text{{if {condition}}} \\ {y.text} & \text{{otherwise}}"
            return Term(rf"\begin{{cases}} {rows} \end{{cases}}", 0)
    operator = TEX_NAMES.get(name, rf"\operatorname{{{escaped(name)}}}")
    return Term(f"{operator}({', '.join(_merged([arg.text for arg in args] + given))})")


def stated(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of an op that are written: all but options that are off; a condition is written even if False."""
    return {key: value for key, value in (params or {}).items() if value is not False or key == "condition"}


def _infix(signs: Signs, name: str, args: Sequence[Term], loose: bool = False) -> Term:
    sign, tightness = signs[name]
    return Term(f"{args[0].within(tightness)} {sign} {args[1].within(tightness + (not loose))}", tightness)


def _merged(texts: Sequence[str]) -> list[str]:
    """The texts, with one `…` for several in a row."""
    return [text for text, last in zip(texts, ["", *texts], strict=False) if not text == last == REST.text]


def _argument(key: str, value: Any) -> str:
    plain_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = number(value) if plain_number else reprlib.repr(value)
    return f"{key}={text}" if len(text) <= 12 else REST.text


def _setting(key: str, value: Any) -> str:
    """A setting in LaTeX."""
    if isinstance(value, float):
        shown = scientific(numeral(value)).text
    elif isinstance(value, int) and not isinstance(value, bool):
        shown = str(value)
    else:
        shown = rf"\text{{{escaped(_short(repr(value)))}}}"
    return rf"\mathrm{{{escaped(key)}}}={shown}"


def _short(text: str) -> str:
    return text if len(text) <= 24 else REST.text


def number(value: float, *, signed: bool = False) -> str:
    """`value` in four significant digits (whole numbers below a million in full), with a true minus sign.

    >>> number(-6.0), number(24.70408), number(1.25e-8), number(0.5, signed=True)
    ('−6', '24.7', '1.25e−8', '+0.5')
    """
    value = float(value) + 0.0  # of the two zeros the one without a sign
    short = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    mantissa, e, exponent = short.partition("e")
    short = f"{mantissa}e{int(exponent)}" if e else short
    return ("+" if signed and value > 0 else "") + short.replace("-", "−")


def decimal(value: float) -> str:
    """`value` in six significant digits, as Python writes floats.

    >>> decimal(-3), decimal(0.1 + 0.2), decimal(2 / 3e9)
    ('-3.0', '0.3', '6.66667e-10')
    """
    return repr(float(f"{float(value):.6g}") + 0.0)


def literal(value: float) -> Term:
    """A number in an expression on a card; a negative one binds like a negation."""
    text = number(value)
    return Term(text, SUM if text.startswith("−") else ATOM)


def numeral(value: float, digits: int = 6) -> Term:
    """A number in plain-text maths: in 6 significant digits, or in all 17 for text that is read back."""
    text = decimal(value) if digits == 6 else repr(float(value))
    return Term(text, POWER if text.startswith("-") else ATOM)


def scientific(term: Term) -> Term:
    r"""A plain-text number in LaTeX: ``2e-07`` as 2 \cdot 10^{-7}, which binds like a product."""
    sign, digits = ("-", term.text[1:]) if term.text.startswith("-") else ("", term.text)
    if digits in ("inf", "nan"):
        return Term(rf"{sign}\infty" if digits == "inf" else r"\text{nan}", term.tightness)
    mantissa, e, exponent = term.text.partition("e")
    return Term(rf"{mantissa} \cdot 10^{{{int(exponent)}}}", PRODUCT) if e else term


BINDS = {
    **dict.fromkeys('=<>&~!:;,?"≤≥≠→', 0),
    **dict.fromkeys("+-−±", SUM),
    **dict.fromkeys("*/×÷·∙⋅%@", PRODUCT),
    **dict.fromkeys("^√∛²³⁻", POWER),
}


def operand(label: str) -> int:
    """How tightly a label binds as it is written: as the loosest sign in it does that stands in no brackets.

    >>> [Term(label, operand(label)).within(PRODUCT) for label in ("w[i-1]", "x*w", "x*w + b")]
    ['w[i-1]', 'x*w', '(x*w + b)']
    """
    depth, tightness = 0, ATOM
    for char in label:
        depth += (char in "([{") - (char in ")]}")
        if depth < 0:
            return 0
        if not depth:
            tightness = min(tightness, BINDS.get(char, ATOM))
    return tightness if not depth else 0
