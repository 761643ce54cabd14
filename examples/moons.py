"""Two half moons told apart by a network of single numbers: micrograd's demo on `scalar`.

    python examples/moons.py [--steps 100] [--out runs/moons.png]

A 2-16-16-1 network learns by full-batch gradient descent on the max-margin loss of a support vector machine.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from scalar import Value, mean, no_grad, optim, relu, sum
from scalar.nn import Dense, Sequential
from viz import plots
from viz.console import run, say


def moons(n: int = 100, noise: float = 0.1, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """n points on two half circles that reach into each other, and -1 or +1 for each."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0.0, np.pi, n // 2)
    outer = np.column_stack((np.cos(angle), np.sin(angle)))
    inner = np.column_stack((1.0 - np.cos(angle), 0.5 - np.sin(angle)))
    points = np.concatenate((outer, inner)) + rng.normal(0.0, noise, (2 * len(angle), 2))
    return points, np.repeat([-1.0, 1.0], len(angle))


def margin_loss(scores: list[Value], labels: list[float], parameters: list[Value]) -> Value:
    """Every score should lie beyond 1 on its label's side; large weights cost a little."""
    hinge = mean([relu(1.0 - y * score) for y, score in zip(labels, scores, strict=True)])
    return hinge + 1e-4 * sum([p * p for p in parameters])


def main(steps: int, out: Path) -> None:
    points, labels = moons()
    samples, targets = points.tolist(), labels.tolist()
    model = Sequential(Dense(2, 16, "relu", seed=1), Dense(16, 16, "relu", seed=2), Dense(16, 1, seed=3))
    parameters = model.parameters()
    optimizer = optim.SGD(parameters, lr=1.0)
    say(f"2-16-16-1, {len(parameters)} parameters, {len(points)} points")

    for step in range(steps):
        scores = [model(x)[0] for x in samples]
        loss = margin_loss(scores, targets, parameters)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = 1.0 - 0.9 * step / steps
        optimizer.step()
        if step % 10 == 0 or step == steps - 1:
            right = np.mean([score.data * y > 0 for score, y in zip(scores, targets, strict=True)])
            say(f"step {step:3}  loss {loss.data:.4f}  accuracy {right:.0%}")

    @no_grad()
    def score(xs: np.ndarray) -> list[float]:
        return [model(x)[0].data for x in xs.tolist()]

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        say(f"picture: {plots.boundary(score, points, labels, out)}")
    except ModuleNotFoundError as problem:  # no matplotlib here: the message says how to get it
        say(f"no picture: {problem}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tell two half moons apart with a network of single numbers.")
    parser.add_argument("--steps", type=int, default=100, help="steps of gradient descent (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/moons.png"), help="the picture (default: %(default)s)")
    args = parser.parse_args()
    if args.out.suffix.lower() not in (".png", ".svg", ".pdf"):
        parser.error(f"expected a picture that ends in .png, .svg or .pdf, got {args.out}")
    return args


if __name__ == "__main__":
    sys.exit(run("moons.py", lambda: main(**vars(parse()))))
