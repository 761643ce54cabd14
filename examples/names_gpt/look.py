"""Look inside a trained GPT: a page for a name typed in, how letters lie to each other, and numbers traced back.

    python examples/names_gpt/train.py && python examples/names_gpt/look.py
    python examples/names_gpt/look.py --model FILE --name mathilda --out FOLDER

Writes look.html, which computes attention, probabilities and gradients in the browser; neighbours.svg; and the single
numbers behind the likeliest logit at the last letter, behind the largest share of attention there, and behind the loss,
as pictures and as pages to play: logit.svg, logit.html, attention.svg, attention.html, loss.svg, loss.html.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from model import TENSORS, Gpt, Sizes, first_weights

import vector
import viz
from vector import checkpoint, files
from viz.console import run, say

HERE = Path(__file__).parent


def load(path: Path) -> tuple[Gpt, str]:
    """The model in a file of train.py, in float64, and its alphabet. Raises ValueError for another file."""
    saved = checkpoint.load(path)
    settings = saved.get("settings")
    if not isinstance(settings, dict) or {"sizes", "alphabet"} - settings.keys() or "weights" not in saved:
        raise ValueError(f"{path}: expected a file that train.py of this folder wrote")
    sizes = Sizes(*settings["sizes"])
    if saved["weights"].keys() != first_weights(sizes).keys():
        raise ValueError(f"{path}: expected the weights of {sizes}")
    return Gpt(sizes, TENSORS, {name: x.astype(float) for name, x in saved["weights"].items()}), settings["alphabet"]


def numbers(name: str, alphabet: str, sizes: Sizes) -> np.ndarray:
    """A break and the letters of a name. Raises ValueError for letters that the model does not know or has no place
    for."""
    if unknown := {*name} - {*alphabet}:
        raise ValueError(f"expected letters out of {alphabet.strip()!r}, got {min(unknown)!r}")
    if len(name) >= sizes.context:
        raise ValueError(f"expected a name of at most {sizes.context - 1} letters, got {len(name)}")
    return np.array([0, *map(alphabet.index, name)])


# --- how letters lie to each other ------------------------------------------------------------------------------------


def plane(x: np.ndarray) -> np.ndarray:
    """Rows (n, width) in the plane in which they vary most (n, 2), the larger variance first."""
    centred = x - x.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T


def nearest(x: np.ndarray) -> np.ndarray:
    """For each row the number of the other one at the smallest angle to it."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(axis=1)


def spread(at: np.ndarray, least: float) -> np.ndarray:
    """Points (n, 2), moved away from each other where they are closer than that, so that all can be read."""
    at = at.copy()
    for _ in range(100):
        way = at[:, None] - at
        distance = np.linalg.norm(way, axis=-1, keepdims=True)
        push = np.maximum(least - distance, 0.0) * way / np.maximum(distance, 1e-9)
        at += 0.5 * push.sum(axis=1)
    return at


def neighbours(embeddings: np.ndarray, alphabet: str) -> str:
    """The embeddings (letters, width) as an SVG picture."""
    at = plane(embeddings)
    low, high = at.min(axis=0), at.max(axis=0)
    x, y = spread(20 + 440 * (at - low) / np.maximum(high - low, 1e-12), 20.0).T
    near = nearest(embeddings)
    lines, letters = [], []
    for i, letter in enumerate(alphabet):
        j, shown = near[i], {"\n": "·", " ": "␣"}.get(letter, letter)
        lines.append(f'<line x1="{x[i]:.1f}" y1="{y[i]:.1f}" x2="{x[j]:.1f}" y2="{y[j]:.1f}"/>')
        colour = ' fill="#d97706"' if letter in "aeiouy" else ""
        letters.append(f'<text x="{x[i]:.1f}" y="{y[i]:.1f}"{colour}>{html.escape(shown)}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 480" role="img" aria-label="letters by embedding">'
        f'<g stroke="#94a3b8" stroke-width="1">{"".join(lines)}</g><g font-family="monospace" font-size="20" '
        'text-anchor="middle" dominant-baseline="central" fill="currentColor" stroke="Canvas" stroke-width="5" '
        f'paint-order="stroke">{"".join(letters)}</g></svg>'
    )


# --- the page ---------------------------------------------------------------------------------------------------------


def page(model: Gpt, alphabet: str, name: str) -> str:
    """The page, with the weights and the script in it."""
    weights = {key: x.data.tolist() for key, x in model.weights.items()}
    fields = {
        "count": f"{sum(x.size for x in model.weights.values()):,}",
        "name": html.escape(name),
        "longest": str(model.sizes.context - 1),
        "neighbours": neighbours(model.weights["letters"].data, alphabet),
        "sizes": json.dumps(model.sizes._asdict()),
        "text": json.dumps({"alphabet": alphabet}).replace("<", "\\u003c"),
        "weights": json.dumps(weights),
        "script": (HERE / "look.js").read_text(encoding="utf-8"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda field: fields[field[1]], (HERE / "look.html").read_text(encoding="utf-8"))


# --- numbers traced back ----------------------------------------------------------------------------------------------


def name_products(output: Any, model: Gpt) -> None:
    """Label each product with a weight as what it is: 0.query of x becomes "query"."""
    weights = {id(x): name for name, x in model.weights.items()}
    for node in vector.topological_order(output):
        if node.op is not None and node.op.name == "matmul" and id(node.inputs[1]) in weights:
            name = weights[id(node.inputs[1])]
            node.label = {"logits": "logit"}.get(name, name.rpartition(".")[2])


def traced(model: Gpt, letters: np.ndarray) -> dict[str, Any]:
    """The graphs of single numbers behind the likeliest logit at the last place, behind the largest share of attention
    there, in the first layer, and behind the loss, from the three letters that cost most."""
    given, seen = letters[None], []
    logits = model(given, seen)
    name_products(logits, model)
    last = len(letters) - 1
    shares = seen[0]
    shares.label = "share"
    head, place = np.unravel_index(shares.data[0, :, last].argmax(), shares.shape[1::2])
    following = np.eye(model.sizes.letters)[[*letters[1:], 0]]
    loss = model.loss(given, following[None] / len(letters))
    name_products(loss, model)
    loss.label = "loss"
    likeliest = int(logits.data[0, last].argmax())
    return {
        "logit": viz.zoom(logits, (0, last, likeliest), largest=3, layers=1),
        "attention": viz.zoom(shares, (0, int(head), last, int(place)), largest=3, layers=1),
        "loss": viz.zoom(loss, largest=3, layers=0),
    }


def main(args: argparse.Namespace) -> None:
    model, alphabet = load(args.model)
    letters = numbers(args.name, alphabet, model.sizes)
    if len(letters) < 2:
        raise ValueError("expected a name of at least one letter")
    args.out.mkdir(parents=True, exist_ok=True)
    written = [args.out / "look.html", args.out / "neighbours.svg"]
    files.write(written[0], page(model, alphabet, args.name).encode())
    files.write(written[1], neighbours(model.weights["letters"].data, alphabet).encode())
    for name, value in traced(model, letters).items():
        value.backward()
        written += [viz.render(value, args.out / f"{name}.svg"), viz.play(value, args.out / f"{name}.html")]
    say(f"wrote {', '.join(map(str, written))}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    add = parser.add_argument
    add(
        "--model", type=Path, metavar="FILE", default=Path("runs/names-gpt/model.npz"), help="of train.py (%(default)s)"
    )
    add("--name", default="mathilda", help="to begin with, and to trace (%(default)s)")
    add("--out", type=Path, metavar="FOLDER", default=Path("runs/names-gpt"), help="where to write (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run("look.py", lambda: main(parse())))
