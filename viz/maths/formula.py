"""The formula of a graph, and the chain rule for one of its inputs as a sum over paths.

>>> from scalar import Value
>>> a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.5, "c")
>>> out = (a * b + c).tanh()
>>> print(formula(out))
L = tanh(a * b + c)
>>> print(derivative(out, a))
dL/da = dL/d(a * b + c) * d(a * b + c)/d(a * b) * d(a * b)/da
      = (1 - L * L) * 1 * b
      = 0.786448 * 1.0 * -3.0
      = -2.35934
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from viz.maths.letters import LINE, wrapped
from viz.maths.notation import Term, code, latex, numeral, scientific, stated
from viz.maths.steps import gradient_name, names, numbering
from viz.maths.symbolic import Name, Symbolic, constant, derive
from viz.nodes import Node, in_order, is_constant

__all__ = ["Formula", "derivative", "formula"]

LONGEST = 10_000  # characters of a line
PATHS = 64


class Formula(NamedTuple):
    """Maths in plain text, for `print`, and in LaTeX, for notebooks."""

    text: str
    latex: str

    def __str__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex}\n$$"


def formula(root: Node) -> Formula:
    """Return `root` as an expression of its leaves.

    A node that has a label, or is used more than once, gets a line of its own above its users, so that nothing is
    written twice. The text of a line is a Python expression.

    Raises ValueError if a line would be longer than 10,000 characters.
    """
    nodes = in_order([root])
    called, numbered = names(nodes, root), numbering(nodes)
    uses: dict[int, int] = {}
    for node in nodes:
        for x in node.inputs:
            uses[id(x)] = uses.get(id(x), 0) + 1
    lines: list[tuple[str, str]] = []
    terms: dict[int, Name] = {}  # how to refer to a node: by its name, or by what it is made of
    for i, node in enumerate(nodes):
        terms[id(node)] = called[id(node)]
        if node.op is None:
            if is_constant(node) and not node.label and not np.ndim(node.data):
                terms[id(node)] = _exactly(node.data)
            continue
        params = stated(getattr(node, "params", None))
        args = [terms[id(x)] for x in node.inputs]
        made = Name(
            code(node.op.name, [arg.code for arg in args], params),
            latex(node.op.name, [arg.latex for arg in args], params),
        )
        if len(made.code.text) > LONGEST:
            raise ValueError(f"formula: expected lines of at most {LONGEST} characters; label some inner nodes")
        if node is root or node.label or uses[id(node)] > 1:
            if not (node.label or node is root):
                terms[id(node)] = numbered(i)
            lines.append(
                (
                    f"{terms[id(node)].code.text} = {made.code.text}",
                    f"{terms[id(node)].latex.text} &= {made.latex.text}",
                )
            )
        else:
            terms[id(node)] = made
    if not lines:
        lines = [(called[id(root)].code.text, called[id(root)].latex.text)]
    return _formula([text for text, _ in lines], [tex for _, tex in lines])


def derivative(root: Node, leaf: Node) -> Formula:
    """Return the chain rule for `leaf`: the sum over all paths from `root` of the products of local derivatives.

    It is written four times: with the derivatives by name, with each local derivative by its op's rule, with numbers,
    and summed. Each path has a line.

    Raises ValueError if `root` does not depend on `leaf`, or by more than 64 paths (`steps` shows such graphs), and
    TypeError for tensors, whose local derivatives are too large to write.
    """
    nodes = in_order([root])
    if any(np.ndim(node.data) for node in nodes):
        raise TypeError("derivative: expected numbers, got tensors; viz.zoom shows the numbers behind an element")
    called = names(nodes, root)
    paths = _paths(root, leaf, nodes)
    chains, symbols, numbers, total = [], [], [], 0.0
    for path in paths:
        chain, symbol, filled, product = [], [], [], 1.0
        for node, position in path:
            chain.append(gradient_name(called[id(node)], called[id(node.inputs[position])]))
            slope = _slope(node, position, called)
            symbol.append(slope.name)
            filled.append(Name(numeral(slope.data), scientific(numeral(slope.data))))
            product *= float(slope.data)
        total += product
        chains.append(_product(chain))
        symbols.append(_product(symbol))
        numbers.append(_product(filled))
    left = gradient_name(called[id(root)], called[id(leaf)])
    result = Name(numeral(total), scientific(numeral(total)))
    rows = [_total(chains), _total(symbols), _total(numbers), result]
    texts, formulas = (list(dict.fromkeys(row[i].text for row in rows)) for i in (0, 1))
    indent = " " * len(left.code.text)
    return _formula(
        [f"{indent if i else left.code.text} = {text}".replace("\n", f"\n{indent} ") for i, text in enumerate(texts)],
        [f"{'' if i else left.latex.text} &= {text}" for i, text in enumerate(formulas)],
    )


def _paths(root: Node, leaf: Node, nodes: Sequence[Node]) -> list[list[tuple[Any, int]]]:
    """Each path from `root` to `leaf`: its nodes, each with the position of the input that comes next."""
    counts = {id(leaf): 1}
    for node in nodes:
        if node is not leaf:
            counts[id(node)] = sum(counts[id(x)] for x in node.inputs if not is_constant(x))
    ways = counts.get(id(root), 0)
    name = repr(leaf.label) if leaf.label else "the leaf"
    if not ways or id(leaf) not in {id(node) for node in nodes}:
        raise ValueError(f"derivative: expected a leaf that the root depends on; it does not depend on {name}")
    if ways > PATHS:
        raise ValueError(f"derivative: expected at most {PATHS} paths to {name}, got {ways}; viz.steps shows each step")
    done, stack = [], [(root, list[tuple[Any, int]]())]
    while stack:
        node, path = stack.pop()
        if node is leaf:
            done.append(path)
        else:
            onward = [
                (x, [*path, (node, i)]) for i, x in enumerate(node.inputs) if counts[id(x)] and not is_constant(x)
            ]
            stack += reversed(onward)
    return done


def _slope(node: Any, position: int, called: dict[int, Name]) -> Symbolic:
    """The local derivative: the op's rule for an upstream gradient of 1."""
    *xs, out = [
        Symbolic(x.data, called[id(x)], x.op is None and is_constant(x) and not x.label) for x in (*node.inputs, node)
    ]
    needed = [i == position for i in range(len(node.inputs))]
    (slope,) = filter(None, derive(node, Symbolic(1.0, constant(1.0), fixed=True), out, xs, needed))
    return slope


def _product(factors: Sequence[Name]) -> Name:
    whole = factors[0] if factors else constant(1.0)
    for factor in factors[1:]:
        whole = Name(code("multiply", [whole.code, factor.code]), latex("multiply", [whole.latex, factor.latex]))
    return whole


def _total(terms: Sequence[Name]) -> Name:
    """A sum, a line for each of its terms."""
    texts, formulas = [term.code.text for term in terms], [term.latex.text for term in terms]
    return Name(Term("\n+ ".join(texts)), Term(f"{LINE}&\\quad + ".join(formulas)))


def _exactly(value: float) -> Name:
    """A plain number with all its digits."""
    short = constant(value)
    term = numeral(value, digits=17)
    return short if float(short.code.text) == value else Name(term, scientific(term))


def _formula(texts: Sequence[str], formulas: Sequence[str]) -> Formula:
    lines = [wrapped(line) for formula in formulas for line in formula.split(LINE)]
    if len(lines) == 1 and LINE not in lines[0]:
        return Formula(texts[0], lines[0].replace("&", "", 1) if "&=" in lines[0] else lines[0])
    return Formula("\n".join(texts), f"\\begin{{aligned}}\n{LINE.join(lines)}\n\\end{{aligned}}")
