"""Build tanh(a * b + c), differentiate it, print it, draw it.

python examples/tiny_expression.py [picture.png | picture.svg | picture.pdf]
"""

import argparse
import sys
from pathlib import Path

import viz
from scalar import Value, tanh
from viz.console import run, say


def main(path: Path) -> None:
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.5, "c")
    out = tanh(a * b + c)
    out.label = "out"
    out.backward()

    say(f"tanh(a * b + c) = {out.data:.4f}")
    for x in (a, b, c):
        say(f"{x.label} = {x.data:4}   d out / d {x.label} = {x.grad:7.4f}")

    graph = viz.draw(out, local_derivatives=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        say(f"picture: {viz.render(graph, path)}")
    except RuntimeError as problem:  # no Graphviz here: the message says how to get it
        say(f"no picture: {problem}")


def parse() -> Path:
    parser = argparse.ArgumentParser(description="Values, gradients and the picture of tanh(a * b + c).")
    parser.add_argument("picture", nargs="?", type=Path, default=Path("runs/tiny_expression.png"))
    picture: Path = parser.parse_args().picture
    if picture.suffix.lower() not in (".png", ".svg", ".pdf"):
        parser.error(f"expected a picture that ends in .png, .svg or .pdf, got {picture}")
    return picture


if __name__ == "__main__":
    sys.exit(run("tiny_expression.py", lambda: main(parse())))
