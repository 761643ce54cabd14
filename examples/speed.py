"""How fast are the two engines? Side by side with PyTorch and micrograd, where these are installed.

    python examples/speed.py [--rounds 15]

`scalar` node by node, like for like, on two programs written once over any engine of single numbers (node_by_node.py),
against a compact engine of forty lines, micrograd, and PyTorch's tensors of one number; then with its fused ops, which
make a node of a whole dot product. And one step of training 784-128-10 in float32 on 32 images (forward, backward, SGD
update), `vector` against PyTorch, both without compiling. Rounds alternate, so that what else the machine does falls on
all alike; each turn starts with an empty garbage collector. Figures depend on the machine, ratios less.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from statistics import median
from typing import Any

import node_by_node
import numpy as np

import scalar
import vector
from vector.datasets import Batches, fashion_mnist_sample
from vector.runtime.threads import use_threads
from viz.console import run, say

Run = Callable[[int], None]  # so many times
MOMENT = 0.05  # seconds, about, that one engine runs in a round


def vector_steps() -> Run:
    """Train `vector` on one batch after the other."""
    model = vector.nn.Sequential(
        vector.nn.Dense(784, 128, "relu", seed=0, dtype=np.float32),
        vector.nn.Dense(128, 10, seed=1, dtype=np.float32),
    )
    optimizer = vector.optim.SGD(model.parameters(), lr=0.01)
    batches = batches_forever()

    def steps(times: int) -> None:
        for images, labels in islice(batches, times):
            loss = vector.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def torch_steps(threads: int) -> Run:
    """Train PyTorch on one batch after the other, in the way its own tutorials do."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_of = torch.nn.CrossEntropyLoss()
    batches = ((torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in batches_forever())

    def steps(times: int) -> None:
        torch.set_num_threads(threads)
        for images, labels in islice(batches, times):
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def batches_forever() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """32 images (32, 784) with their labels, again and again: every engine gets the same, ready made."""
    data = fashion_mnist_sample()
    ready = [(x.reshape(-1, 784), y) for x, y in Batches(data.train_images, data.train_labels, 32, drop_last=True)]
    while True:
        yield from ready


def by_nodes(program: Callable[[Any], Callable[[], float]], node: Callable[[float], Any]) -> Run:
    """A program of `node_by_node` on an engine."""
    step = program(node)
    return lambda times: [step() for _ in range(times)] and None


def nodes() -> dict[str, Callable[[float], Any]]:
    """What makes a leaf, for each engine of single numbers that is installed."""
    found: dict[str, Any] = {"scalar": scalar.Value, "compact engine": node_by_node.Compact}
    if find_spec("micrograd"):
        from micrograd.engine import Value

        found["micrograd"] = Value
    if find_spec("torch"):
        import torch

        found["PyTorch, single numbers"] = lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True)
    return found


def fused_passes() -> Run:
    """Forward and backward of 2-16-16-1 over 20 points with the layers of `scalar`: a node for each dot product."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.0, 1.0, (20, 2)).tolist()
    model = scalar.nn.Sequential(
        scalar.nn.Dense(2, 16, "relu", seed=0),
        scalar.nn.Dense(16, 16, "relu", seed=1),
        scalar.nn.Dense(16, 1, seed=2),
    )
    parameters = model.parameters()

    def passes(times: int) -> None:
        for _ in range(times):
            for p in parameters:
                p.grad = 0.0
            scalar.sum([model(point)[0] for point in points]).backward()

    return passes


def per_node(rounds: int) -> None:
    """Forward and backward of the GPT by themselves, a node."""
    models = {"scalar": node_by_node.Gpt(scalar.Value), "compact engine": node_by_node.Gpt(node_by_node.Compact)}
    best = {name: [float("inf")] * 2 for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            gc.collect()
            start = time.perf_counter()
            loss = model.loss()
            middle = time.perf_counter()
            loss.backward()
            seconds = (middle - start, time.perf_counter() - middle)
            best[name] = list(map(min, best[name], seconds))
            if name == "scalar":
                count = sum(node.op is not None for node in scalar.topological_order(loss))
            del loss
    say(f"the GPT's {count:,} nodes, one by one, microseconds a node")
    for name, (forward, backward) in best.items():
        say(f"  {name:<28}forward {forward / count * 1e6:.2f}   backward {backward / count * 1e6:.2f}")


def clock(run: Run, times: int) -> float:
    gc.collect()
    start = time.perf_counter()
    run(times)
    return time.perf_counter() - start


def race(runs: dict[str, Run], rounds: int, least: int = 1) -> dict[str, list[float]]:
    """Seconds of one run in each round, the engines taking turns of at least so many runs. One BLAS thread, the faster
    number at this size."""
    times: dict[str, int] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with use_threads(1):
        for name, run in runs.items():
            run(1)
            times[name] = max(least, round(MOMENT / clock(run, 1)))
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(clock(run, times[name]) / times[name])
    return seconds


def show(title: str, seconds: dict[str, list[float]], unit: float) -> None:
    """Minimum and median of each, and how the first compares with the best of the others."""
    say(title)
    for name, times in seconds.items():
        say(f"  {name:<28}min {min(times) / unit:8.1f}   median {median(times) / unit:8.1f}")
    own, *others = seconds.values()
    if others:
        lowest = min(map(min, others)) / min(own)
        middle = min(map(median, others)) / median(own)
        say(f"  {next(iter(seconds))} is {lowest:.2f} times as fast by minimum, {middle:.2f} by median")


def main(rounds: int) -> None:
    sys.setrecursionlimit(100_000)  # the other engines of single numbers recurse
    engines = nodes()
    # First, while PyTorch's many objects are not yet there to slow down the garbage collector that the others lean on.
    title = "(a) 2-16-16-1 by hand, forward and backward over 20 points, milliseconds"
    runs = {name: by_nodes(node_by_node.network, node) for name, node in engines.items()}
    show(title, race(runs, rounds, least=3), 1e-3)
    engines.pop("micrograd", None)  # it has no exp and no log
    title = "(b) a character GPT, one training step, milliseconds"
    runs = {name: by_nodes(node_by_node.gpt, node) for name, node in engines.items()}
    show(title, race(runs, max(1, rounds // 3), least=3), 1e-3)
    per_node(rounds)
    show("(a) with fused ops: scalar.nn, a node for each dot product", race({"scalar": fused_passes()}, rounds), 1e-3)
    arrays = {"vector": vector_steps()}
    if find_spec("torch"):
        arrays |= {"PyTorch, 1 thread": torch_steps(1), "PyTorch, 2 threads": torch_steps(2)}
    show("784-128-10, one step on 32 images, float32, microseconds", race(arrays, rounds), 1e-6)
    absent = [name for name, module in (("PyTorch", "torch"), ("micrograd", "micrograd")) if not find_spec(module)]
    if absent:
        say(f"not installed, so not raced: {', '.join(absent)}; pip install 'twograd[race]' brings them")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Race the engines against PyTorch and micrograd.")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each engine takes (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run("speed.py", lambda: main(**vars(parse()))))
