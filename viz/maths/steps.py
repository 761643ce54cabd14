"""The backward pass one step at a time: which node adds to which gradient, in words and in maths.

>>> from scalar import Value
>>> a, b = Value(2.0, "a"), Value(-3.0, "b")
>>> print(*steps((a * b).tanh())[:2], sep="\\n")
1. L = tanh(a * b) = -0.999988 is the result, so dL/dL = 1.0. It hands a share to a * b.
     dL/d(a * b) += dL/dL * (1 - L * L) = 1.0 * (1 - -0.999988 * -0.999988) = 2.45765e-05
2. a * b = -6.0 has its whole gradient, dL/d(a * b) = 2.45765e-05. It hands a share to a and b.
     dL/da += dL/d(a * b) * b = 2.45765e-05 * -3.0 = -7.37296e-05
     dL/db += dL/d(a * b) * a = 2.45765e-05 * 2.0 = 4.91531e-05
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz.maths.letters import plain, symbol
from viz.maths.notation import ATOM, Term, code, decimal, latex, number, numeral, operand, scientific, stated
from viz.maths.symbolic import Name, Symbolic, constant, derive
from viz.nodes import Node, backward_steps, in_order, is_constant, norm

__all__ = ["Contribution", "Frame", "gradient_name", "names", "numbering", "steps", "tail"]

WIDTH = 20  # characters; a node with a longer expression goes by a number, v7


@dataclass(frozen=True)
class Contribution:
    """The term that a step adds to the gradient of one of its inputs.

    node    the input, number `position` among the inputs
    slope   the local derivative, d step / d input; None between tensors, where it is too large to write
    amount  the term: upstream gradient times local derivative
    total   the input's gradient after this step
    """

    node: Any
    position: int
    slope: float | None
    amount: Any
    total: Any
    text: str
    latex: str


@dataclass(frozen=True)
class Frame:
    """One step of the backward pass: a node, its whole gradient, its contributions to its inputs, and a sentence."""

    number: int
    node: Any
    name: str
    gradient: Any
    contributions: tuple[Contribution, ...]
    sentence: str

    @property
    def text(self) -> str:
        """The chain rule of this step in plain text, a line for each contribution."""
        return "\n".join(each.text for each in self.contributions)

    @property
    def latex(self) -> str:
        """The chain rule of this step in LaTeX, a line for each contribution."""
        return " \\\\\n".join(each.latex for each in self.contributions)

    def __str__(self) -> str:
        return "\n     ".join([f"{self.number}. {self.sentence}", *(each.text for each in self.contributions)])


def steps(root: Node) -> list[Frame]:
    """Return a frame for every step of the backward pass from `root`, as its engine takes it.

    The graph stays as it is: no `.grad` changes. Printed, a frame is a sentence and the chain rule below it.

    Raises TypeError if `root` is not a node of an engine, and any error of the engine, such as ValueError for a tensor
    of several elements.
    """
    backward = backward_steps(root)
    called = names(in_order([root]), root)
    totals: dict[int, Any] = {}
    return [_frame(i, root, step, called, totals) for i, step in enumerate(backward(root), 1)]


def names(nodes: Sequence[Node], root: Node) -> dict[int, Name]:
    """Name each node: by its label, by its expression if that is short, or by a number.

    The root without a label is L. Equal labels are told apart by numbers, ``w[2]``.
    """
    found: dict[int, Name] = {}
    labels = {plain(node.label) for node in nodes}
    times: dict[str, int] = {}
    numbered = numbering(nodes)
    for i, node in enumerate(nodes):
        label = plain(node.label) or ("L" if node is root and "L" not in labels else "")
        times[label] = times.get(label, 0) + 1
        if label:
            found[id(node)] = _label(label, times[label])
        elif node.op is None and is_constant(node) and not np.ndim(node.data):
            found[id(node)] = constant(node.data)
        else:
            made = definition(node, found) if node.op else None
            short = made and len(made.code.text) <= WIDTH and "…" not in made.code.text
            found[id(node)] = made if made and short else numbered(i)
    return found


def numbering(nodes: Sequence[Node]) -> Callable[[int], Name]:
    """Names v0, v1, ... for nodes without one; with another letter where labels are such names already."""
    taken = {label.rstrip("0123456789") for node in nodes if (label := plain(node.label))[-1:].isdigit()}
    letter = next((letter for letter in "vuntpqr" if letter not in taken), "node")
    return lambda i: Name(Term(f"{letter}{i}"), Term(symbol(f"{letter}{i}")))


def definition(node: Node, called: dict[int, Name]) -> Name:
    """The expression of `node` in the names of its inputs."""
    params = stated(getattr(node, "params", None))
    inputs = [called[id(x)] for x in node.inputs]
    return Name(
        code(node.op.name, [x.code for x in inputs], params), latex(node.op.name, [x.latex for x in inputs], params)
    )


def gradient_name(root: Name, node: Name) -> Name:
    """dL/da for a root L and a node a."""
    over, under = (name.code.text if _is_word(name.code.text) else f"({name.code.text})" for name in (root, node))
    top, below = root.latex.within(ATOM), node.latex.within(ATOM)
    return Name(Term(f"d{over}/d{under}"), Term(rf"\frac{{\partial {top}}}{{\partial {below}}}"))


def _label(label: str, times: int) -> Name:
    short = label if len(label) <= WIDTH else label[: WIDTH - 1] + "…"
    names = Term(short, operand(short)), Term(symbol(short), operand(short))
    return Name(*names) if times == 1 else Name(*(Term(f"{name.within(ATOM)}[{times}]") for name in names))


def _is_word(text: str) -> bool:
    return all(char.isalnum() or char in "_.[],'" for char in text)


def _frame(i: int, root: Node, step: Any, called: dict[int, Name], totals: dict[int, Any]) -> Frame:
    node, g, amounts = step
    name, top = called[id(node)], called[id(root)]
    given = []
    chains = _chains(node, g, called, gradient_name(top, name)) if node.op else []
    for position, (x, amount, chain) in enumerate(zip(node.inputs, amounts, chains, strict=False)):
        if not is_constant(x):
            totals[id(x)] = totals[id(x)] + amount if id(x) in totals else amount
            given.append(_contribution(x, position, amount, totals[id(x)], gradient_name(top, called[id(x)]), chain))
    made = definition(node, called).code.text if node.op else ""
    is_ = " = ".join([name.code.text, *([made] if made not in ("", name.code.text) else []), _size(node.data)])
    whole = f"{gradient_name(top, name).code.text} = {_size(g)}"
    if node is root:
        sentence = f"{is_} is the result, so {whole}."
    elif node.op:
        sentence = f"{is_} has its whole gradient, {whole}."
    else:
        sentence = f"{is_} is an input: the pass ends here with {whole}."
    return Frame(i, node, name.code.text, g, tuple(given), sentence + tail(node, called))


def tail(node: Node, called: dict[int, Name]) -> str:
    """The end of the sentence: the inputs to which the node hands its gradient on."""
    texts = list(dict.fromkeys(called[id(x)].code.text for x in node.inputs if not is_constant(x)))
    if len(texts) > 4:
        return f" It hands a share to {len(texts)} inputs."
    return f" It hands a share to {' and '.join(filter(None, [', '.join(texts[:-1]), texts[-1]]))}." if texts else ""


def _chains(node: Node, g: Any, called: dict[int, Name], upstream: Name) -> list[tuple[Symbolic | None, ...]]:
    """For each input the result of the op's own rule: in names, in numbers, and the local derivative.

    The last two are None between tensors, where they are too large to write.
    """
    needed = [not is_constant(x) for x in node.inputs]
    *xs, out = [_symbolic(each, called) for each in (*node.inputs, node)]
    formulas = derive(node, Symbolic(g, upstream), out, xs, needed)
    if any(np.ndim(each.data) for each in (*xs, out)):
        return [(formula, None, None) for formula in formulas]
    *numbers, result = [each if each.fixed else Symbolic(each.data, _numeral(each.data)) for each in (*xs, out)]
    filled = derive(node, Symbolic(g, _numeral(g)), result, numbers, needed)
    slopes = derive(node, Symbolic(1.0, _numeral(1.0)), out, xs, needed)
    return list(zip(formulas, filled, slopes, strict=True))


def _contribution(
    x: Node, position: int, amount: Any, total: Any, left: Name, chain: tuple[Symbolic | None, ...]
) -> Contribution:
    """`dL/da += dL/dout * b = 1.0 * -3.0 = -3.0`: the op's own rule with names, then with numbers."""
    *equal, slope = chain
    names = [each.name for each in equal if each is not None]
    texts, formulas = [name.code.text for name in names], [name.latex.text for name in names]
    if slope is not None:
        texts.append(decimal(amount))
        formulas.append(scientific(numeral(amount)).text)
    else:
        texts.append(_size(amount))
        formulas.append(rf"\text{{{_size(amount)}}}")
    text, tex = (" = ".join(dict.fromkeys(parts)) for parts in (texts, formulas))
    local = float(slope.data) if slope is not None else None
    return Contribution(
        x, position, local, amount, total, f"{left.code.text} += {text}", f"{left.latex.text} \\mathrel{{+}}= {tex}"
    )


def _symbolic(node: Node, called: dict[int, Name]) -> Symbolic:
    fixed = node.op is None and is_constant(node) and not node.label and not np.ndim(node.data)
    return Symbolic(node.data, called[id(node)], fixed)


def _numeral(value: Any) -> Name:
    return Name(numeral(value), scientific(numeral(value)))


def _size(value: Any) -> str:
    """The digits of a number; the shape and norm of an array."""
    if not np.ndim(value):
        return decimal(value)
    return f"{np.shape(value)} of norm {number(norm(value))}".replace("−", "-")
