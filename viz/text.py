"""Operations as people write them, ``a × b``, ``x²``, ``tanh(x)``, and numbers to read at a glance."""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["REST", "Term", "literal", "number", "plain", "write"]

SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4  # how tightly a term holds together


class Term(NamedTuple):
    """A written expression and how tightly its outermost operation binds."""

    text: str
    tightness: int = ATOM

    def within(self, tightness: int) -> str:
        """The text, in parentheses where the surroundings bind more tightly."""
        return self.text if self.tightness >= tightness else f"({self.text})"


REST = Term("…")  # a part left unwritten
INFIX = {
    "add": ("+", SUM),
    "subtract": ("−", SUM),
    "multiply": ("×", PRODUCT),
    "divide": ("/", PRODUCT),
    "product": ("@", PRODUCT),
}
SUPERSCRIPT = str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write(name: str, args: Sequence[Term], params: Mapping[str, Any] | None = None) -> Term:
    """The operation `name` applied to `args`.

    >>> a, b = Term("a"), Term("b")
    >>> write("multiply", [write("add", [a, b]), a]).text
    '(a + b) × a'
    >>> write("power", [a, Term("2")]).text, write("leaky_relu", [a], {"slope": 0.01}).text
    ('a²', 'leaky_relu(a, slope=0.01)')
    """
    given = [_argument(key, value) for key, value in (params or {}).items() if value is not None]
    if not given and len(args) == 2 and name in INFIX:
        sign, tightness = INFIX[name]
        left, right = args
        return Term(f"{left.within(tightness)} {sign} {right.within(tightness + (name != 'add'))}", tightness)
    if not given and len(args) == 1 and name == "negative":
        return Term(f"−{args[0].within(PRODUCT)}", SUM)
    if not given and len(args) == 2 and name == "power":
        base, exponent = args[0].within(ATOM), args[1].text
        if set(exponent) <= set("−0123456789"):
            return Term(base + exponent.translate(SUPERSCRIPT), POWER)
        return Term(f"{base}^{args[1].within(ATOM)}", POWER)
    texts = [arg.text for arg in args] + given
    shown = [text for text, last in zip(texts, ["", *texts], strict=False) if not text == last == REST.text]
    return Term(f"{name}({', '.join(shown)})")


def _argument(key: str, value: Any) -> str:
    plain_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = number(value) if plain_number else reprlib.repr(value)
    return f"{key}={text}" if len(text) <= 12 else REST.text


def number(value: float, *, signed: bool = False) -> str:
    """`value` in four significant digits (whole numbers below a million in full), with a true minus sign.

    >>> number(-6.0), number(24.70408), number(1.25e-8), number(0.5, signed=True)
    ('−6', '24.7', '1.25e−8', '+0.5')
    """
    value = float(value)
    short = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    mantissa, e, exponent = short.partition("e")
    short = f"{mantissa}e{int(exponent)}" if e else short
    return ("+" if signed and value > 0 else "") + short.replace("-", "−")


def literal(value: float) -> Term:
    """A number inside an expression: a negative one binds like a negation."""
    text = number(value)
    return Term(text, SUM if text.startswith("−") else ATOM)


def plain(label: str) -> str:
    """A label on one line: white space collapsed, and � for what cannot be printed."""
    line = " ".join(label.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
