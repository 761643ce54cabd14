"""One real image through both engines: are all 101,770 gradients the same, and what does each engine pay for them?

    python examples/compare_engines.py

The network is that of the main job, 784-128-10, in float64. `scalar` holds every parameter in a node of its own and
sums products one after the other; `vector` hands whole matrices to BLAS, which sums in another order. That order is
all that may tell the results apart, and `bounds` says by how much.
"""

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import scalar
import vector
from vector.datasets import CLASS_NAMES, fashion_mnist_sample
from viz.console import run, say

EPS = float(np.finfo(np.float64).eps)
SEEDS = (0, 1)  # of the two layers
Gradients = dict[str, np.ndarray]


class Cost(NamedTuple):
    """What one engine took for one forward and backward pass."""

    build: float  # seconds to make the network
    seconds: float  # of the pass, the best of a few
    megabytes: float  # the most held at once by network and pass
    nodes: int


def scalar_network() -> scalar.nn.Sequential:
    first, second = SEEDS
    return scalar.nn.Sequential(
        scalar.nn.Dense(784, 128, "relu", seed=first),
        scalar.nn.Dense(128, 10, seed=second),
    )


def vector_network() -> vector.nn.Sequential:
    first, second = SEEDS
    return vector.nn.Sequential(
        vector.nn.Dense(784, 128, "relu", seed=first),
        vector.nn.Dense(128, 10, seed=second),
    )


def scalar_gradients(model: scalar.nn.Sequential) -> Gradients:
    def gradients(nested: Any) -> Any:
        return [gradients(x) for x in nested] if isinstance(nested, list) else nested.grad

    return {name: np.array(gradients(nested)) for name, nested in model.named().items()}


def vector_gradients(model: vector.nn.Sequential) -> Gradients:
    return {name: p.grad.copy() for name, p in model.named().items()}


def measure(engine: Any, build: Callable[[], Any], image: Any, label: Any, repeats: int) -> tuple[Any, float, Cost]:
    """The network after one backward pass, the loss, and the cost."""

    def run(model: Any) -> Any:
        loss = engine.cross_entropy(model(image), label)
        loss.backward()
        return loss

    start = time.perf_counter()
    model = build()
    built, seconds = time.perf_counter() - start, []
    for _ in range(repeats):
        for p in model.parameters():
            p.grad = 0.0
        start = time.perf_counter()
        loss = run(model)
        seconds.append(time.perf_counter() - start)
    nodes = len(engine.topological_order(loss))

    tracemalloc.start()  # a run of its own: watching every allocation takes time
    run(build())
    megabytes = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return model, loss.item(), Cost(built, min(seconds), megabytes, nodes)


def bounds(x: np.ndarray, label: int, state: Gradients) -> Gradients:
    """By how much two engines may differ in each gradient, if they only sum in different orders.

    A sum of n terms, in any order, is off by at most n u sum|terms| to first order, u = eps / 2 being half a unit in
    the last place (Higham, Accuracy and Stability of Numerical Algorithms, 4.2); two orders differ by twice that,
    n eps sum|terms|. An error that comes in through the terms is carried on by |derivative|. `e_z` is the bound on z.
    """
    w1, b1, w2, b2 = (state[name] for name in ("0.weight", "0.bias", "1.weight", "1.bias"))
    z1 = x @ w1 + b1
    h = np.maximum(z1, 0.0)
    z2 = h @ w2 + b2
    d = z2 - z2.max()
    p = np.exp(d) / np.exp(d).sum()
    g2 = p - np.eye(10)[label]  # d loss / d z2
    g1 = np.where(z1 > 0, w2 @ g2, 0.0)  # d loss / d z1

    e_z1 = 785 * EPS * (np.abs(x) @ np.abs(w1) + np.abs(b1))
    if np.any(np.abs(z1) <= e_z1):
        raise ArithmeticError("a unit stands so close to 0 that rounding decides whether it is on; take another image")
    e_h = np.where(z1 > 0, e_z1, 0.0)
    e_z2 = 129 * EPS * (h @ np.abs(w2) + np.abs(b2)) + e_h @ np.abs(w2)
    e_d = e_z2 + e_z2.max() + EPS * np.abs(d)
    e_p = p * (e_d + p @ e_d + 14 * EPS)  # dp_i = p_i (dd_i - sum_j p_j dd_j); exp, a sum of ten and a division round
    e_g2 = e_p + 2 * EPS * np.abs(g2)
    e_g1 = np.where(z1 > 0, np.abs(w2) @ e_g2 + 10 * EPS * (np.abs(w2) @ np.abs(g2)), 0.0)
    return {
        "0.weight": np.outer(np.abs(x), e_g1 + EPS * np.abs(g1)),
        "0.bias": e_g1,
        "1.weight": np.outer(h, e_g2 + EPS * np.abs(g2)) + np.outer(e_h, np.abs(g2)),
        "1.bias": e_g2,
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n\n")[0]).parse_args()
    data = fashion_mnist_sample()
    x, label = data.test_images[0].reshape(-1) / 255.0, int(data.test_labels[0])
    say(f"one image of class {CLASS_NAMES[label]!r} through 784-128-10, forward and backward, float64")

    plain, plain_loss, slow = measure(scalar, scalar_network, x.tolist(), label, repeats=3)
    arrays, array_loss, fast = measure(vector, vector_network, x, label, repeats=200)
    say(f"loss: scalar {plain_loss:.15f}\n      vector {array_loss:.15f}\n")

    allowed = bounds(x, label, arrays.state_dict())
    ours, theirs = scalar_gradients(plain), vector_gradients(arrays)
    count, largest, worst = 0, 0.0, 0.0
    say(f"{'gradients of':<14}{'how many':>10}{'largest size':>14}{'largest difference':>20}{'of its bound':>14}")
    for name, bound in allowed.items():
        difference = np.abs(ours[name] - theirs[name])
        share = np.max(difference / np.where(bound > 0, bound, 1.0), where=bound > 0, initial=0.0)
        if np.any(difference > bound):
            raise ArithmeticError(f"{name}: gradients differ by more than reordered sums explain")
        count, largest, worst = count + bound.size, max(largest, difference.max()), max(worst, share)
        size = np.abs(ours[name]).max()
        say(f"{name:<14}{bound.size:>10,}{size:>14.3g}{difference.max():>20.3g}{share:>14.3%}")
    say(f"all {count:,} gradients agree: largest difference {largest:.3g}, at most {worst:.3%} of its bound\n")

    say(f"{'':<8}{'nodes':>10}{'build':>12}{'pass':>14}{'peak memory':>14}")
    for name, cost in (("scalar", slow), ("vector", fast)):
        took = f"{cost.seconds * 1e3:,.1f} ms" if cost.seconds > 1e-3 else f"{cost.seconds * 1e6:,.0f} us"
        say(f"{name:<8}{cost.nodes:>10,}{cost.build * 1e3:>9,.1f} ms{took:>14}{cost.megabytes:>11,.1f} MB")
    say(f"vector is {slow.seconds / fast.seconds:,.0f} times as fast as scalar")


if __name__ == "__main__":
    sys.exit(run("compare_engines.py", main))
