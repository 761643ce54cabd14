"""How training scales with the number of ranks: measured here with 1, 2 and 4, predicted up to 1,024.

    python examples/fashion_mnist/scaling.py
    python examples/fashion_mnist/scaling.py --torch PYTHON      which has PyTorch, if this one has not

Each network takes the same steps from the same weights in every process that runs it; who gets other losses is
disqualified. A turn is a launch of its own. Turns alternate, and each times many steps one by one: the quickest tells
what the program takes, the median what it took with all that was running beside it. Where ranks take turns on a
processor, steps are timed in blocks, since a single one may find that the others have done their part already.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import vector
from vector import nn, optim
from vector.datasets import Batches, fashion_mnist_sample
from vector.distributed import ALONE, Alone, Ranks
from vector.runtime.threads import use_threads
from viz.console import run, say

ROOT = Path(__file__).resolve().parents[2]
LR, COMPARED, TOLERANCE = 0.05, 10, 1e-4  # losses of so many steps, which may differ by rounding, relatively
BLOCK, SECONDS = 8, 1.0  # steps of a block where ranks take turns on a processor, and seconds of a turn, about
MESSAGES = [1, 1_000, 10_000, 101_771, 669_707]  # float32 numbers


class Case(NamedTuple):
    """A network of dense layers, and the rows of the whole batch."""

    widths: Sequence[int]
    batch: int

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.widths))}, {self.batch:,} images"

    @property
    def numbers(self) -> int:
        """How many a step adds up: the gradients and the loss."""
        return sum((m + 1) * n for m, n in zip(self.widths, self.widths[1:], strict=False)) + 1


CASES = [Case((784, 128, 10), 128), Case((784, 128, 10), 1024), Case((784, 512, 512, 10), 128)]


class Network(NamedTuple):
    """What connects ranks: seconds a message, a byte, and to add a byte to another."""

    name: str
    alpha: float
    beta: float
    gamma: float

    def all_reduce(self, p: int, size: int) -> float:
        """Seconds to add up `size` bytes over p ranks, by recursive doubling or by Rabenseifner's algorithm, whichever
        is quicker (Thakur, Rabenseifner and Gropp, Int. J. High Perform. Comput. Appl. 19, 2005, section 4.5)."""
        rounds, part = math.ceil(math.log2(p)), (p - 1) / p
        doubling = rounds * (self.alpha + size * (self.beta + self.gamma))
        halving = 2 * rounds * self.alpha + part * size * (2 * self.beta + self.gamma)
        return min(doubling, halving)


# --- the programs -----------------------------------------------------------------------------------------------------


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """One batch, real images some of which come more than once."""
    sample = fashion_mnist_sample()
    images, labels = next(iter(Batches(sample.train_images, sample.train_labels, len(sample.train_images))))
    rows = np.arange(case.batch) % len(images)
    return images.reshape(-1, 784)[rows], labels[rows]


def network(case: Case) -> nn.Sequential:
    sizes = [*zip(case.widths, case.widths[1:], strict=False)]
    bends = ["relu"] * (len(sizes) - 1) + [None]
    layers = zip(sizes, bends, strict=True)
    return nn.Sequential(*(nn.Dense(*size, bend, seed=i, dtype=np.float32) for i, (size, bend) in enumerate(layers)))


def begun(step: Callable[[], float]) -> dict[str, Any]:
    """The first losses, and about how many steps go into a turn."""
    losses = [step() for _ in range(COMPARED)]
    begin = time.perf_counter()
    for _ in range(20):
        step()
    return {"losses": losses, "steps": min(2000, max(40, round(20 * SECONDS / (time.perf_counter() - begin))))}


def timed(step: Callable[[], float], number: int, count: int = 1) -> list[float]:
    """Seconds a step, in blocks of `count`."""
    seconds = []
    for _ in range(number):
        begin = time.perf_counter()
        for _ in range(count):
            step()
        seconds.append((time.perf_counter() - begin) / count)
    return seconds


def block(ranks: int) -> int:
    """How many steps to time at once."""
    return 1 if ranks <= (os.cpu_count() or 1) else BLOCK


def measure(step: Callable[[], float], ranks: Alone) -> dict[str, Any]:
    """What there is to know of a program: all ranks time the same number of steps."""
    found, count = begun(step), block(ranks.size)
    number = ranks.gather("the steps of a turn", found["steps"])[0] // count
    return {"losses": found["losses"], "seconds": timed(step, number, count)}


def ours(case: Case, ranks: Alone, threads: int = 1) -> dict[str, Any]:
    """Our recorded step, on one process or several."""
    model = network(case)
    optimizer = optim.SGD(model.parameters(), LR)
    step = vector.compile(model.train_step(optimizer, vector.cross_entropy, ranks), exact=False)
    x, y = data(case)
    own = slice(case.batch * ranks.rank // ranks.size, case.batch * (ranks.rank + 1) // ranks.size)
    batch = (x, y) if ranks.size == 1 else (x[own], y[own], np.asarray((own.stop - own.start) / case.batch, x.dtype))
    with use_threads(threads):
        return measure(lambda: step(*batch)[0].item(), ranks)


def theirs(case: Case, rank: int, size: int, port: int, threads: int = 1) -> dict[str, Any]:
    """The same in PyTorch, with DistributedDataParallel over gloo."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(threads)
    first = network(case)
    layers: list[Any] = []
    for dense in first.layers:
        linear = torch.nn.Linear(dense.n_in, dense.n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(dense.weight.data.T.copy()))
            linear.bias.copy_(torch.from_numpy(dense.bias.data.copy()))
        layers += [linear, torch.nn.ReLU()]
    model: Any = torch.nn.Sequential(*layers[:-1])
    if size > 1:
        torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), LR)
    own = slice(case.batch * rank // size, case.batch * (rank + 1) // size)
    x, y = (torch.from_numpy(array[own].copy()) for array in data(case))

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def whole(loss: float) -> float:
        if size == 1:
            return loss
        total = torch.tensor(loss)
        torch.distributed.all_reduce(total)
        return float(total) / size

    found = begun(step)
    found["losses"] = [whole(x) for x in found["losses"]]
    number = torch.tensor(found["steps"])
    if size > 1:
        torch.distributed.broadcast(number, 0)
    found["seconds"] = timed(step, int(number) // block(size), block(size))
    if size > 1:
        torch.distributed.destroy_process_group()
    return found


def messages(ranks: Ranks) -> dict[str, Any]:
    """Seconds to add up arrays of several sizes, and to add a byte to another."""
    found = {}
    for n in MESSAGES:
        x, out = np.ones(n, np.float32), np.empty(n, np.float32)
        seconds = []
        for _ in range(max(200, 2_000_000 // (n + 1000))):
            begin = time.perf_counter()
            ranks.all_reduce(x, out)
            seconds.append(time.perf_counter() - begin)
        found[n] = seconds
    x, y = np.ones((2, MESSAGES[-2]), np.float32)
    adding = timed(lambda: np.add(x, y, out=x)[0], 200)
    return {"seconds": found, "gamma": min(adding) / x.nbytes}


def overlap(case: Case, ranks: Ranks) -> dict[str, list[float]]:
    """Seconds of the end of a backward pass, the first layer's gradient, and of what is to be added up: all of it
    afterwards, or what the other layers have while the first layer's is computed."""
    rows, (m, n) = case.batch // ranks.size, case.widths[:2]
    x, g = np.ones((m, rows), np.float32), np.ones((rows, n), np.float32)
    given, total = np.zeros((2, case.numbers), np.float32)
    first, comm = given[: m * n].reshape(m, n), ranks.world

    def after() -> float:
        np.matmul(x, g, out=first)
        comm.Allreduce(given, total)
        return 0.0

    def meanwhile() -> float:
        request = comm.Iallreduce(given[m * n :], total[m * n :])
        np.matmul(x, g, out=first)
        comm.Allreduce(given[: m * n], total[: m * n])
        request.Wait()
        return 0.0

    with use_threads(1):
        turns = [(timed(after, 1), timed(meanwhile, 1)) for _ in range(500)]
    return {"after": [x for a, _ in turns for x in a], "meanwhile": [x for _, b in turns for x in b]}


def worker(words: Sequence[str]) -> None:
    """One process of a turn: the first prints what it found."""
    what, case = words[0], Case(*json.loads(words[1]))
    if what == "ddp":
        rank, size, port = map(int, words[2:])
        found, first = theirs(case, rank, size, port), rank == 0
    elif what == "rows":  # one rank's part of the batch, without the others
        found, first = {n: ours(Case(case.widths, n), ALONE)["seconds"] for n in rows_of(case)}, True
    elif what == "alone":
        found, first = ours(case, ALONE, int(words[2])), True
    else:
        ranks = Ranks()
        programs: dict[str, Any] = {"ours": functools.partial(ours, case), "messages": messages}
        programs["overlap"] = functools.partial(overlap, case)
        found, first = programs[what](ranks=ranks), ranks.first
    if first:
        say(json.dumps(found))


def rows_of(case: Case) -> list[int]:
    """The rows of a batch that a rank has: of 1, 2, 4, ... ranks up to 1,024, as long as each has one."""
    return [case.batch >> i for i in range(11) if case.batch >> i]


# --- turns ------------------------------------------------------------------------------------------------------------


def launch(what: str, case: Case, n: int, torch: str = "", *more: object) -> Any:
    """Run a program on n ranks. Returns what the first found. Raises ChildProcessError where one ended badly."""
    words = [str(Path(__file__).resolve()), "--worker", what, json.dumps(case), *map(str, more)]
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    if what == "ddp":
        port = 20_000 + os.getpid() % 20_000
        commands = [[torch, *words, str(i), str(n), str(port)] for i in range(n)]
    elif what in ("alone", "rows"):
        commands = [[sys.executable, *words]]
    elif mpiexec is None:
        raise FileNotFoundError("mpiexec: expected one beside Python or on PATH: pip install 'twograd[mpi]'")
    else:
        commands = [[mpiexec, "-n", str(n), sys.executable, *words]]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    answers = [process.communicate(timeout=300) for process in processes]
    if any(process.returncode for process in processes):
        raise ChildProcessError(f"{what} on {n}: {answers[0][1].strip().splitlines()[-1:]}")
    return json.loads(answers[0][0].splitlines()[-1])


def turns(cases: Sequence[Case], sizes: Sequence[int], rounds: int, torch: str) -> dict[Any, list[dict[str, Any]]]:
    """What each program found in each round, by case, program and ranks."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for i in range(rounds):
        for case in cases:
            jobs: list[tuple[str, int]] = [("ours", n) for n in sizes] + ([("ddp", n) for n in sizes] if torch else [])
            for what, n in jobs:
                answer = launch("alone", case, 1, "", 1) if (what, n) == ("ours", 1) else launch(what, case, n, torch)
                found.setdefault((case, what, n), []).append(answer)
            found.setdefault((case, "threads", 1), []).append(launch("alone", case, 1, "", os.cpu_count()))
        say(f"round {i + 1} of {rounds}")
    for (case, what, n), answers in found.items():
        expected = found[case, "ours", sizes[0]][0]["losses"]
        if not all(np.allclose(x["losses"], expected, rtol=TOLERANCE, atol=0.0) for x in answers):
            raise ValueError(f"{what} on {n}, {case}: expected the losses {expected}, got {answers[0]['losses']}")
    return found


def both(seconds: Sequence[float]) -> str:
    """Least and median, in microseconds."""
    return f"{min(seconds) * 1e6:,.0f} / {statistics.median(seconds) * 1e6:,.0f}"


def constants(sizes: Sequence[int]) -> tuple[Network, str]:
    """What connects ranks here, found with two of them, and how well the formula then says what others take."""
    found = {n: launch("messages", CASES[0], n) for n in sizes if n > 1}
    two = {int(n): min(x) for n, x in found[2]["seconds"].items()}
    alpha, gamma, largest = two[1], found[2]["gamma"], MESSAGES[-2]
    here = Network("here", alpha, (two[largest] - 2 * alpha) / (4 * largest) - gamma / 2, gamma)
    lines = ["| numbers added up | " + " | ".join(f"{n} ranks | predicted" for n in found) + " |"]
    lines.append("|---" * (1 + 2 * len(found)) + "|")
    for m in MESSAGES:
        cells = [f"{both(x['seconds'][str(m)])} | {here.all_reduce(n, 4 * m) * 1e6:,.0f}" for n, x in found.items()]
        lines.append(f"| {m:,} | {' | '.join(cells)} |")
    return here, "\n".join(lines)


def measured_table(found: dict[Any, list[dict[str, Any]]], here: Network, rows: dict[Case, dict[int, float]]) -> str:
    """Microseconds a step, least and median, beside the prediction."""
    lines = ["| network, whole batch | ranks | ours | predicted | PyTorch DDP, gloo |", "|---|---|---|---|---|"]
    for (case, what, n), answers in found.items():
        seconds = [x for answer in answers for x in answer["seconds"]]
        if what == "threads":
            lines.append(f"| {case} | 1, all threads | {both(seconds)} | | |")
        elif what == "ours":
            peers = [x for answer in found.get((case, "ddp", n), ()) for x in answer["seconds"]]
            at_once = max(1.0, n / (os.cpu_count() or 1))  # ranks that take turns on one processor
            guess = rows[case][case.batch // n] * at_once + (here.all_reduce(n, 4 * case.numbers) if n > 1 else 0.0)
            cells = f"{both(seconds)} | {guess * 1e6:,.0f} | {both(peers) if peers else ''}"
            lines.append(f"| {case} | {n} | {cells} |")
    return "\n".join(lines)


def prediction(case: Case, rows: dict[int, float], networks: Sequence[Network]) -> str:
    """Speed-up over one rank, by ranks and network, and where it is largest."""
    lines = [f"| {case}: ranks | images a rank | " + " | ".join(x.name for x in networks) + " |"]
    lines.append("|---" * (2 + len(networks)) + "|")
    ups: list[list[float]] = []
    for i, (n, seconds) in enumerate(rows.items()):
        p = 1 << i
        ups.append(
            [rows[case.batch] / (seconds + (x.all_reduce(p, 4 * case.numbers) if p > 1 else 0)) for x in networks]
        )
        lines.append(f"| {p:,} | {n:,} | " + " | ".join(f"{up:.2f}" for up in ups[-1]) + " |")
    best = [max(range(len(ups)), key=lambda i, k=k: ups[i][k]) for k in range(len(networks))]
    half = [max(i for i in range(len(ups)) if ups[i][k] >= (1 << i) / 2) for k in range(len(networks))]
    lines.append("| quickest with | | " + " | ".join(f"{1 << i:,}" for i in best) + " |")
    lines.append("| half of each rank's time pays, up to | | " + " | ".join(f"{1 << i:,}" for i in half) + " |")
    grown = [
        " | ".join(f"{rows[case.batch] / (rows[case.batch] + x.all_reduce(p, 4 * case.numbers)):.2f}" for x in networks)
        for p in (2, 1024)
    ]
    lines += [
        f"| the same batch for each of {p:,}: efficiency | | {x} |" for p, x in zip((2, 1024), grown, strict=True)
    ]
    return "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    here, check = constants(args.ranks)
    say(f"a message {here.alpha * 1e6:.1f} us, a byte {here.beta * 1e9:.3f} ns, to add it {here.gamma * 1e9:.3f} ns")
    say(f"\n{check}\n")
    found = turns(CASES, args.ranks, args.rounds, args.torch)
    rows = {case: {int(n): min(x) for n, x in launch("rows", case, 1).items()} for case in CASES}
    say(f"\n{measured_table(found, here, rows)}\n")
    slower = Network("25 Gb/s Ethernet", 20e-6, 8 / 25e9, here.gamma)
    quicker = Network("200 Gb/s InfiniBand", 1.5e-6, 8 / 200e9, here.gamma)
    for case in CASES:
        say(f"{prediction(case, rows[case], [here, slower, quicker])}\n")
    lines = ["| overlap, 2 ranks | one sum at the end | two sums, one meanwhile |", "|---|---|---|"]
    for case in CASES:
        times = launch("overlap", case, 2)
        lines.append(f"| {case} | {both(times['after'])} | {both(times['meanwhile'])} |")
    say("\n".join(lines))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--ranks", type=int, nargs="+", default=[1, 2, 4], help="how many to measure (1 2 4)")
    add("--rounds", type=int, default=3, help="turns of each program (%(default)s)")
    add("--torch", metavar="PYTHON", default="", help="a Python that has PyTorch, to measure it beside")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2:])
    else:
        sys.exit(run("scaling.py", lambda: main(parse())))
