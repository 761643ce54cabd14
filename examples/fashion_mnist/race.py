"""Race our training step against numpy by hand, JAX, PyTorch, TensorFlow, MyGrad and HIPS autograd.

    python examples/fashion_mnist/race.py
    python examples/fashion_mnist/race.py --batch 1 32 128 512 --width 128 1024 --optimizer sgd adam    (or: --all)
    python examples/fashion_mnist/race.py --network convnet gru transformer wide
    python examples/fashion_mnist/race.py --busy
    python examples/fashion_mnist/race.py --recipe default adamw

Everybody trains 784-width-10 (relu, softmax, cross-entropy) from the same weights on the same batches of Fashion-MNIST,
each in a process of its own, in turn, several rounds. Before that the losses of the first 50 steps are compared with
ours; who computes something else is disqualified. With --network, other networks (networks.py) race as well, each in
batches of its own size unless told. `pip install 'twograd[race]'` brings the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS
from racers import COMPARED, RACERS, RECIPE_RACERS, Task

from viz.console import run, say

SCRIPT = Path(__file__).with_name("racers.py")
RATES = {"sgd": 0.01, "adam": 0.001}
TOLERANCE = 2e-3  # of a loss, relative to the mean of ours: float32, and sums in another order, over 50 steps
PATIENCE = 300.0  # seconds to wait for an answer
Row = dict[str, Any]


class Failed(ChildProcessError):
    """A racer's process ended before its time; the message is the last line that it wrote."""


class Worker:
    """A racer in its own process, spoken to in lines of JSON: it runs when asked, and sleeps otherwise."""

    def __init__(self, job: str, name: str, given: Any):
        self.log = tempfile.TemporaryFile("w+")
        here = Path(__file__).resolve().parents[2]
        paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), job, name, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def hear(self) -> Any:
        """The next answer. Raises Failed when there is none."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(PATIENCE)
            self.log.seek(0)
            last = [text.strip() for text in self.log.read().splitlines() if text.strip()][-1:]
            raise Failed(last[0] if last else f"ended with code {self.process.returncode}")
        return json.loads(line)

    def ask(self, question: Any) -> Any:
        """The answer to a question. Raises Failed."""
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # hear() says why
        return self.hear()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- one race ---------------------------------------------------------------------------------------------------------


def race(task: Task, names: Iterable[str], rounds: int, seconds: float) -> list[Row]:
    """A row for each racer, ours first: microseconds a step, or why there are none."""
    names = ["ours", *(name for name in names if name != "ours")]
    rows: list[Row] = [{"name": name, "program": RACERS[name].title, "status": "raced"} for name in names]
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        expected: list[float] = []
        for row in rows:
            entry = RACERS[row["name"]]
            if find_spec(entry.needs) is None:
                row["status"] = "absent"
                continue
            worker = stack.enter_context(Worker("race", row["name"], task))
            try:
                worker.hear()
                row["start"] = time.perf_counter() - worker.started
                losses = worker.hear()["losses"]
            except Failed as problem:
                row["status"] = f"failed: {problem}"
                continue
            expected = expected or losses
            row["difference"], wrong = verdict(losses, expected)
            if wrong:
                row["status"] = f"disqualified: {wrong}"
            else:
                workers[row["name"]] = worker
        for _ in range(rounds):
            for row in rows:
                if worker := workers.get(row["name"]):
                    try:
                        run_round(row, worker, seconds)
                    except Failed as problem:
                        row["status"] = f"failed: {problem}"
                        del workers[row["name"]]
    summarize(rows, task)
    return rows


def verdict(losses: Sequence[float], expected: Sequence[float]) -> tuple[float, str]:
    """How far the losses are from ours, relative to the mean of ours; and what is wrong with them, if anything is."""
    if len(losses) != len(expected):
        return np.inf, f"{len(losses)} losses instead of {len(expected)}"
    apart = np.abs(np.subtract(losses, expected)) / np.mean(expected)
    if not np.all(apart <= TOLERANCE):
        step = int(np.argmin(apart <= TOLERANCE))
        return float(apart.max()), f"loss {losses[step]:.5f} instead of {expected[step]:.5f} at step {step + 1}"
    return float(apart.max()), ""


def run_round(row: Row, worker: Worker, seconds: float) -> None:
    answer = worker.ask(seconds)
    row.setdefault("rounds", []).append(1e6 * answer["step"])
    row["memory"] = answer["memory"]
    row["idle"] = row.get("idle", 0.0) + answer["idle"]


def summarize(rows: list[Row], task: Task) -> None:
    """Put minimum, median, images a second and ours over theirs into the rows."""
    for row in rows:
        if row["status"] == "raced" and row.get("rounds"):
            row["min"], row["median"] = min(row["rounds"]), statistics.median(row["rounds"])
            row["images_per_second"] = task.batch / row["min"] * 1e6
            if "min" in rows[0]:
                row["ours_over_theirs"] = rows[0]["min"] / row["min"]


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'program':<28}{'us a step':>10}{'median':>9}{'images/s':>11}{'ours/it':>9}{'memory':>9}{'start':>8}"]
    for row in rows:
        if "min" in row and row["status"] == "raced":
            lines.append(
                f"{row['program']:<28}{row['min']:>10.1f}{row['median']:>9.1f}{row['images_per_second']:>11,.0f}"
                f"{row['ours_over_theirs']:>9.2f}{row['memory'] / 1e6:>6.0f} MB{row['start']:>6.1f} s"
            )
        else:
            lines.append(f"{row['program']:<28}  {row['status']}")
    return "\n".join(lines)


def reading(rows: list[Row], bounds: Row) -> str:
    """What the numbers say, in words."""
    b, own = bounds, bounds["gather"] + bounds["step"]
    around, price = max(0.0, b["step"] - b["program"]), b["price"] * b["count"]
    moved, planned = b["bytes"] / 1e6, b["planned"] / 1e6
    text = [
        f"Our step alone, in a process of its own, takes {own:.0f} us. Of these the matrix products take "
        f"{b['products']:.0f} ({b['products'] / own:.0%}), at {b['gflops']:.0f} GFLOP/s where a large product reaches "
        f"{b['peak_gflops']:.0f}; the other numpy calls {b['other']:.0f}; to gather and scale the batch "
        f"{b['gather']:.0f}; what Python does around the recorded program {around:.1f} ({around / own:.0%}).",
        f"The program makes {b['count']} calls, and to be called at all takes numpy {b['price']:.2f} us, together "
        f"{price:.0f} us ({price / own:.0%}) that no kernel makes faster. The calls name {moved:.2f} MB of arrays, "
        f"{moved / own * 1e3:.1f} GB/s if each is read or written once; {planned:.2f} MB are planned for results.",
    ]
    others = [row for row in rows[1:] if "min" in row and not row["name"].startswith("ours")]
    ahead = [f"{row['program']} ({row['ours_over_theirs']:.2f})" for row in others if row["ours_over_theirs"] > 1]
    behind = [f"{row['program']} ({row['ours_over_theirs']:.2f})" for row in others if row["ours_over_theirs"] <= 1]
    if ahead:
        text.append(f"Faster than ours, with our time over theirs: {', '.join(ahead)}.")
    if behind:
        text.append(f"Not faster than ours: {', '.join(behind)}.")
    if b["products"] > 0.5 * own:
        text.append(
            "Most of the step is BLAS: only fewer or faster matrix products would change the picture, not fewer calls."
        )
    else:
        text.append(
            "Less than half of the step is BLAS: what is left is calls on small arrays and passes over the weights."
        )
    return " ".join(text)


def measure_bounds(task: Task) -> Row:
    """Where the microseconds of our step go: see racers.bounds. Raises Failed."""
    with Worker("bounds", "ours", task) as worker:
        return worker.hear()


# --- a busy machine ---------------------------------------------------------------------------------------------------

BUSY = ("ours", "byhand", "byhand-threads", "torch", "torch-threads", "jax")


@contextmanager
def busy_core() -> Iterator[None]:
    """Inside, another process keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def race_while_busy(task: Task, names: Iterable[str], rounds: int, seconds: float) -> list[Row]:
    """Rounds on the machine as it is, and with one core kept busy, in turn. `slower` compares the medians."""
    rows: list[Row] = [{"name": name, "program": RACERS[name].title} for name in names if find_spec(RACERS[name].needs)]
    with ExitStack() as stack:
        workers = {row["name"]: stack.enter_context(Worker("race", row["name"], task)) for row in rows}
        for worker in workers.values():
            worker.hear(), worker.hear()
        for _ in range(rounds):
            for row in rows:
                quiet = workers[row["name"]].ask(seconds)["step"]
                with busy_core():
                    busy = workers[row["name"]].ask(seconds)["step"]
                row.setdefault("quiet", []).append(1e6 * quiet)
                row.setdefault("busy", []).append(1e6 * busy)
    for row in rows:
        row["slower"] = statistics.median(row["busy"]) / statistics.median(row["quiet"])
    return rows


def busy_table(rows: list[Row]) -> str:
    lines = [f"{'program':<28}{'quiet us':>10}{'busy us':>10}{'times slower':>14}{'at worst':>10}   (medians)"]
    for row in rows:
        quiet, busy = statistics.median(row["quiet"]), statistics.median(row["busy"])
        worst = max(row["busy"]) / quiet
        lines.append(f"{row['program']:<28}{quiet:>10.1f}{busy:>10.1f}{row['slower']:>14.2f}{worst:>10.2f}")
    return "\n".join(lines)


# --- the whole run ----------------------------------------------------------------------------------------------------


def race_recipes(recipe: str, epochs: int, rounds: int, data: str | None) -> list[Row]:
    """A recipe of train.py against the same in PyTorch: whole processes, in turn."""
    rows: list[Row] = [
        {"name": name, "program": title, "status": "raced" if find_spec(needs) else "absent"}
        for name, (title, needs, _) in RECIPE_RACERS.items()
    ]
    for _ in range(rounds):
        for row in rows:
            if row["status"] != "raced":
                continue
            with tempfile.TemporaryDirectory() as out:
                given = (recipe, epochs, out, ["--data", data] if data else [])
                with Worker("recipe", row["name"], given) as worker:
                    try:
                        row["memory"] = worker.hear()["memory"]
                    except Failed as problem:
                        row["status"] = f"failed: {problem}"
                        continue
                    row.setdefault("wall", []).append(time.perf_counter() - worker.started)
                outcome = json.loads((Path(out) / "history.json").read_text())
                row.setdefault("training", []).append(outcome["seconds"])
                row["test_accuracy"] = outcome["test_accuracy"]
    return rows


def recipe_table(rows: list[Row]) -> str:
    lines = [f"{'program':<28}{'training s':>11}{'whole run s':>12}{'ours/it':>9}{'memory':>9}{'test accuracy':>15}"]
    for row in rows:
        if "wall" in row:
            ratio = min(rows[0]["training"]) / min(row["training"]) if "training" in rows[0] else np.nan
            lines.append(
                f"{row['program']:<28}{min(row['training']):>11.2f}{min(row['wall']):>12.2f}{ratio:>9.2f}"
                f"{row['memory'] / 1e6:>6.0f} MB{row['test_accuracy']:>15.4f}"
            )
        else:
            lines.append(f"{row['program']:<28}  {row['status']}")
    return "\n".join(lines)


def import_time(rounds: int = 9) -> float:
    """Milliseconds that `import vector` takes after `import numpy`, the minimum over fresh processes. The first one
    compiles it, as pip does when it installs a package."""
    code = "import numpy, time; t = time.perf_counter(); import vector; print(time.perf_counter() - t)"
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", code]
        took = [
            subprocess.run(command, cwd=root, env=env, capture_output=True, check=True, text=True).stdout
            for _ in range(rounds)
        ]
    return 1e3 * min(map(float, took))


# --- picture, files, command line -------------------------------------------------------------------------------------

OURS, YARDSTICK, OTHERS, INK = "#0072B2", "#E69F00", "#BBBBBB", "#333333"  # told apart without red and green


def draw(races: list[Row], path: Path) -> None:
    """A panel of bars for each race. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(race, [row for row in race["rows"] if "min" in row]) for race in races]
    shown = [(race, rows) for race, rows in shown if rows]
    if not shown:
        return
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    tallest = max(len(rows) for _, rows in shown)
    figure = Figure((4.6 * columns + 0.6, lines * (0.29 * tallest + 1.1)), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, (race, rows) in zip(panels, shown, strict=False):
        rows = sorted(rows, key=lambda row: row["min"])
        times = [row["min"] for row in rows]
        colours = [OURS if row["name"] == "ours" else YARDSTICK if row["name"] == "byhand" else OTHERS for row in rows]
        panel.barh([row["program"] for row in rows], times, color=colours, height=0.72)
        panel.invert_yaxis()
        panel.set_xlim(0, 1.18 * max(times))
        for i, us in enumerate(times):
            panel.text(us + 0.015 * max(times), i, f"{us:,.0f}", va="center", fontsize=8, color=INK)
        panel.set_title(heading(race), fontsize=10, color=INK, loc="left")
        panel.set_xticks([])
        panel.tick_params(length=0, labelsize=8, colors=INK)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.spines["left"].set_color("#999999")
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    title = ["Microseconds a training step on Fashion-MNIST,", "minimum over rounds"]
    figure.suptitle(("\n" if columns == 1 else " ").join(title), fontsize=11, color=INK)
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def heading(race: Row) -> str:
    optimizer = {"sgd": "SGD", "adam": "Adam"}[race["optimizer"]]
    images = "one image" if race["batch"] == 1 else f"batches of {race['batch']}"
    return f"{race['title']}, {optimizer}, {images}"


def machine() -> Row:
    """What the figures depend on."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in ("numpy", "jax", "torch", "tensorflow-cpu", "tensorflow", "keras", "autograd", "mygrad"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"date": time.strftime("%Y-%m-%d"), "cpu": model, "cores": os.cpu_count(), "versions": versions}


def write_data(folder: Path, source: str | None, tasks: Iterable[Task]) -> None:
    """Images, labels and the first weights of every network, for all racers to read."""
    from train import load_data

    from vector.exchange import to_torch

    data = load_data(source)
    np.save(folder / "images.npy", data.train_images.reshape(-1, 784))
    np.save(folder / "labels.npy", data.train_labels.astype(np.int64))
    for network in {task.title: task.made for task in tasks}.values():
        model = network.ours()
        np.savez(folder / f"{network.about}.npz", *model.state_dict().values())
        np.savez(folder / f"torch {network.about}.npz", **to_torch(model, network.prefixes))


def main(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    result: Row = {"machine": machine(), "tolerance": TOLERANCE, "compared_steps": COMPARED}
    about = result["machine"]
    named = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    say(f"{about['date']}, {about['cpu']}, {about['cores']} cores; {named}\n")
    if args.recipe:
        result["recipes"] = {}
        for recipe in args.recipe:
            rows = result["recipes"][recipe] = race_recipes(recipe, args.epochs, args.rounds or 3, args.data)
            say(f"train.py --recipe {recipe}, {args.epochs} epochs\n{recipe_table(rows)}\n")
        result["import_ms"] = import_time()
        say(f"import vector takes {result['import_ms']:.1f} ms on top of import numpy")
    else:
        with tempfile.TemporaryDirectory() as folder:
            tasks = [
                Task(folder, batch, width, optimizer, RATES[optimizer], network)
                for optimizer in args.optimizer
                for network in args.network
                for width in (args.width if network == "dense" else [0])
                for batch in args.batch or ([1, 32, 128] if network == "dense" else [NETWORKS[network].batch])
            ]
            write_data(Path(folder), args.data, tasks)
            key = "busy" if args.busy else "races"
            result[key] = [run_task(task, args) for task in tasks]
    name = "recipe" if args.recipe else "busy" if args.busy else "race"
    written = [args.out / f"{name}.json"]
    written[0].write_text(json.dumps(result, indent=1, default=str) + "\n")
    if name == "race":
        try:
            draw(result["races"], args.out / "race.png")
            written.append(args.out / "race.png")
        except ModuleNotFoundError as problem:
            say(f"no picture: {problem}")
    say(f"wrote {', '.join(map(str, written))}")
    return 0


def run_task(task: Task, args: argparse.Namespace) -> Row:
    """One race, printed as soon as it is over."""
    done: Row = {key: value for key, value in task._asdict().items() if key != "folder"} | {"title": task.title}
    if args.busy:
        names = [name for name in BUSY if name in args.racers]
        done["rows"] = race_while_busy(task, names, args.rounds or 7, args.seconds)
        say(f"{heading(done)}, with one core kept busy\n{busy_table(done['rows'])}\n")
        return done
    names = [name for name in args.racers if RACERS[name].every or task.network == "dense"]
    done["rows"] = race(task, names, args.rounds or 7, args.seconds)
    say(f"{heading(done)}\n{table(done['rows'])}")
    if any(row["status"] == "absent" for row in done["rows"]):
        say("who is absent comes with: pip install '.[race]'")
    try:
        done["bounds"] = measure_bounds(task)
        done["reading"] = reading(done["rows"], done["bounds"])
        say(f"\n{textwrap.fill(done['reading'], 110)}\n")
        if args.calls:
            say("\n".join(f"{us:8.1f}  {call}" for call, us in done["bounds"]["calls"].items()) + "\n")
    except Failed as problem:
        say(f"what bounds us: failed: {problem}\n")
    idlers = [row["program"] for row in done["rows"] if row.get("idle", 0.0) > 0.1 * (args.rounds or 7)]
    if idlers:
        say(f"computed while it was not their turn: {', '.join(idlers)}\n")
    return done


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__.partition("\n\n")[0],
        epilog="racers:\n" + "\n".join(f"  {name:<23}{entry.title}" for name, entry in RACERS.items()),
    )
    add = parser.add_argument
    add("--batch", type=int, nargs="+", default=[], help="images a step (1 32 128; of other networks 32 or 1,024)")
    add("--network", nargs="+", choices=NETWORKS, default=["dense"], help="what they train (dense)")
    add("--width", type=int, nargs="+", default=[128], help="units of the hidden layer (128)")
    add("--optimizer", nargs="+", choices=RATES, default=["sgd"], help="(sgd)")
    add("--racers", nargs="+", choices=RACERS, default=list(RACERS), metavar="NAME", help="all unless given")
    add("--rounds", type=int, help="turns that each racer takes (7; of the recipe 3)")
    add("--seconds", type=float, default=0.3, help="of a turn, about (%(default)s)")
    add("--all", action="store_true", help="batches 1 32 128 512, widths 128 1024, SGD and Adam")
    add("--calls", action="store_true", help="print the time of every call of our program")
    add("--busy", action="store_true", help="how much slower everybody gets while another process keeps a core busy")
    add("--recipe", nargs="*", choices=("default", "adamw"), help="whole runs of train.py and of the same in PyTorch "
        "instead, by default of both recipes")  # fmt: skip
    add("--epochs", type=int, default=10, help="of the recipe (%(default)s)")
    add("--data", metavar="FOLDER", help="folder with the four files, or 'sample' (as of train.py)")
    add("--out", type=Path, metavar="FOLDER", default=Path("runs/race"), help="where to write (%(default)s)")
    args = parser.parse_args(arguments)
    if (
        min(*args.batch, *args.width, 1, 1 if args.rounds is None else args.rounds, args.epochs) < 1
        or args.seconds <= 0
    ):
        parser.error("expected numbers from 1 for --batch, --width, --rounds and --epochs, and --seconds above 0")
    if args.recipe == []:
        args.recipe = ["default", "adamw"]
    if args.all:
        args.batch, args.width, args.optimizer = [1, 32, 128, 512], [128, 1024], list(RATES)
    return args


if __name__ == "__main__":
    sys.exit(run("race.py", lambda: main(parse())))
