"""The command line: type an expression, see its values and gradients, the backward pass, a picture or the player.

python -m viz "tanh(a*b + c)" a=2 b=-3 c=10
python -m viz "tanh(a*b + c)" a=2 b=-3 c=10 --steps
python -m viz "tanh(a*b + c)" a=2 b=-3 c=10 -o graph.svg -o backprop.html
python -m viz --playground -o playground.html
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import scalar
import viz
from viz import files
from viz.console import run, say
from viz.expression import Mistake, parse
from viz.maths.notation import ATOM, decimal
from viz.maths.steps import definition, names
from viz.nodes import in_order, is_constant
from viz.playground.page import playground

FUNCTIONS = {name: getattr(scalar, name, op) for name, op in scalar.ops.OPS.items()}
FORMATS = (".svg", ".png", ".pdf", ".html", ".tex", ".dot")
LIMIT = re.compile(r"\b(depth|max_nodes)(=?)")  # as `draw` and `play` call them
VALUED = ("-o", "--output", "--depth", "--max-nodes")  # options that a value follows

EPILOG = f"""\
operators: + - * / ** and brackets; < <= > >= == != inside where(); lists as in sum([a, b, 1])
functions:
{textwrap.fill(", ".join(sorted(FUNCTIONS)), 100, initial_indent="  ", subsequent_indent="  ")}

python -m viz "tanh(a*b + c)" a=2 b=-3 c=6.5                   a table of values and gradients
python -m viz "tanh(a*b + c)" a=2 b=-3 c=6.5 --steps           who hands which gradient to whom, and why
python -m viz "tanh(a*b + c)" a=2 b=-3 c=6.5 -o backprop.html  both passes to play, with inputs to drag
python -m viz "where(x > 0, x, 0.1*x)" x=-1.5 -o graph.svg     the picture of the graph
python -m viz --playground -o playground.html                  a page in which anyone types an expression

A result without a name is called L. Errors go to stderr, and the exit status is then 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after an error message on stderr."""
    given = _options(sys.argv[1:] if arguments is None else arguments)
    try:
        if given.playground:
            return _write_playground(given)
        paths = [Path(each) for each in given.output]
        for path in paths:
            if path.suffix.lower() not in FORMATS:
                raise ValueError(f"expected a file that ends in {', '.join(FORMATS)}, got {str(path)!r}")
        root = parse(given.expression, _values(given.values), FUNCTIONS, scalar.Value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the table shows infinite slopes
            if root.requires_grad:  # not so of numbers alone
                root.backward()
        say("\n".join(map(str, viz.steps(root))) if given.steps else table(root))
        for path in paths:
            try:
                with warnings.catch_warnings(record=True) as told:  # of a picture that had to be shrunk
                    warnings.simplefilter("always", UserWarning)
                    say(str(save(root, path, {"depth": given.depth, "max_nodes": given.max_nodes})))
                for warning in told:
                    print(f"viz: {warning.message}", file=sys.stderr)
            except OSError as problem:
                raise ValueError(f"cannot write {path}: {problem.strerror}") from None
            except ValueError as problem:
                raise ValueError(LIMIT.sub(_option, str(problem))) from None
    except Mistake as mistake:
        print(f"viz: {mistake}\n{mistake.picture}", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError) as problem:
        print(f"viz: {problem}", file=sys.stderr)
        return 2
    return 0


def _write_playground(given: argparse.Namespace) -> int:
    paths = [Path(each) for each in given.output]
    if len(paths) != 1 or paths[0].suffix.lower() not in (".html", ".htm"):
        raise ValueError("expected one page to write, as in --playground -o playground.html")
    if given.expression or given.values:
        raise ValueError("expected no expression with --playground; type it in the page")
    try:
        say(str(files.write(paths[0], playground(scalar.ops.OPS))))
    except OSError as problem:
        raise ValueError(f"cannot write {paths[0]}: {problem.strerror}") from None
    return 0


def _option(limit: re.Match[str]) -> str:
    """The command-line option for an argument of `draw` or `play`."""
    return f"--{limit[1].replace('_', '-')}{' ' if limit[2] else ''}"


def table(root: Any) -> str:
    """A line for every node with its value and gradient, inputs first."""
    nodes = in_order([root])
    called = names(nodes, root)
    rows = [("node", "value", f"d{called[id(root)].code.within(ATOM)}/dnode")]
    for node in nodes:
        name, made = called[id(node)].code.text, definition(node, called).code.text if node.op else ""
        if node.op is None and is_constant(node) and not node.label and node is not root:
            continue
        rows.append((f"{name} = {made}" if made not in ("", name) else name, decimal(node.data), decimal(node.grad)))
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}" for a, b, c in rows)


def save(root: Any, path: Path, limits: Mapping[str, Any]) -> Path:
    """Write the picture, the player, the maths or the DOT text of `root`, by the suffix of `path`.

    `limits` are arguments of `draw`, depth and max_nodes; None for the default.
    """
    given = {key: value for key, value in limits.items() if value is not None}
    match path.suffix.lower():
        case ".html":
            return viz.play(root, path, **{key: value for key, value in given.items() if key == "max_nodes"})
        case ".tex":
            return viz.render(root, path)
        case ".dot":
            return files.write(path, viz.draw(root, local_derivatives=True, **given).source)
        case _:
            return viz.render(viz.draw(root, local_derivatives=True, **given), path)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m viz",
        description="Values and gradients of an expression, its backward pass, its picture and its player.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("expression", nargs="?", help='such as "tanh(a*b + c)"')
    parser.add_argument("values", nargs="*", metavar="name=value", help="a number for each name: a=2 b=-3 c=10")
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write the picture (.svg, .png, .pdf, .dot), the player (.html) or the maths (.tex); may be given again",
    )
    parser.add_argument("--steps", action="store_true", help="print the backward pass step by step")
    parser.add_argument("--playground", action="store_true", help="write a page in which anyone types an expression")
    parser.add_argument("--depth", type=int, metavar="N", help="draw only what is within N steps of the result")
    parser.add_argument("--max-nodes", type=int, metavar="N", help="the most nodes to draw (500) or to play (300)")
    # An expression may start with a minus, so only known options count as options.
    options: list[str] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        if argument in VALUED:
            options += [argument, *queue[:1]]
            queue = queue[1:]
        elif argument in ("-h", "--help", "--steps", "--playground") or argument.partition("=")[0] in VALUED:
            options.append(argument)
        elif argument.startswith("-o") and argument.lower().endswith(FORMATS):  # -ograph.svg
            options.append(argument)
        elif argument.startswith("-") and rest and "--" not in arguments:
            parser.error(f"unknown option {argument}; see --help")
        elif argument != "--":
            rest.append(argument)
    if not rest and "--playground" not in options and "-h" not in options and "--help" not in options:
        parser.print_help(sys.stderr)
        parser.exit(2)
    return parser.parse_args([*options, "--", *rest])


def _values(assignments: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for assignment in assignments:
        name, sign, number = assignment.partition("=")
        name = name.strip()
        try:
            if not (sign and name.isidentifier()) or name in values:
                raise ValueError
            values[name] = float(number)
        except ValueError:
            again = ", once for each name" if name in values else ""
            raise ValueError(f"expected name=number, like a=2{again}, got {assignment!r}") from None
    return values


if __name__ == "__main__":
    sys.exit(run("viz", main))
