"""Several ranks train as one process does, and end together.

MPI runs processes of its own: tests/training/ranks.py. A launch takes a second or two, so one does many tasks.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ranks as tasks
from bounds import EPS, close, errors, slopes

import vector
from vector import checkpoint, datasets

NAMES = [*tasks.SAME, *tasks.OTHER]
SUMS = 3  # terms or so that are added up once more than the analysis of one process knows of


@pytest.fixture(scope="module")
def mpiexec():
    """The program that starts ranks."""
    pytest.importorskip("mpi4py", reason="no mpi4py: pip install 'twograd[mpi]'")
    path = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return path or pytest.skip("no mpiexec, which starts the ranks")


def launch(mpiexec, n, folder, *names, program=tasks.__file__, before=()):
    """Start ranks. Returns how they ended, and how long that took."""
    begin = time.perf_counter()
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment |= {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}  # Open MPI's word for more than cores
    done = subprocess.run(
        [mpiexec, "-n", str(n), sys.executable, program, *before, str(folder), *names],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done, time.perf_counter() - begin


def flat(tree):
    """The arrays and numbers of nested dicts and lists, in order."""
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in flat(value)]
    return [x for value in tree for x in flat(value)] if isinstance(tree, list) else [tree]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(flat(a), flat(b), strict=True))


# --- what one process and several may differ by -----------------------------------------------------------------------


@functools.cache
def bounds(name, n):
    """How far training on n ranks may be from exact arithmetic, by a running error analysis of every step: for each
    parameter an array."""
    model, _ = tasks.job(name)
    parameters, error = model.parameters(), [np.zeros(p.shape) for p in model.parameters()]
    options = {"scale": None, "dtype": np.float64, "seed": 6, "augment": tasks.SAME[name].get("augment")}
    if name == "weighted":
        options["weights"] = tasks.WEIGHTS * np.array([1.0, 2.0, 0.5])[tasks.LABELS]
    parts = [datasets.Batches(tasks.IMAGES, tasks.LABELS, tasks.BATCH, part=(i, n), **options) for i in range(n)]
    for _ in range(tasks.EPOCHS):
        for batch in zip(*parts, strict=True):
            sums = [0.0] * len(parameters)
            for x, y, counts in batch:
                loss = vector.cross_entropy(model(x), y, reduction="none")
                counts = vector.Tensor(counts if counts.ndim else np.full(len(y), counts / len(y)), requires_grad=False)
                given = {p: e for p, e in zip(parameters, error, strict=True)} | {counts: SUMS * EPS * counts.data}
                found = slopes(vector, vector.sum(loss * counts), parameters)
                e = errors(found, given)
                sums = [s + e[g] + n * EPS * np.abs(g.data) for s, g in zip(sums, found, strict=True)]
                for p, g in zip(parameters, found, strict=True):
                    p.grad = p.grad + g.data
            for i, p in enumerate(parameters):
                change = tasks.LR * p.grad
                p.data -= change
                error[i] = error[i] + tasks.LR * sums[i] + EPS * (np.abs(change) + np.abs(p.data))
                p.grad = None
    return parameters, error


@pytest.fixture(
    scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def folder(request, tmp_path_factory, mpiexec):
    """What so many ranks leave when they have done all tasks."""
    path = tmp_path_factory.mktemp("ranks")
    tasks.half(path / "alone.ckpt", "plain")
    more = "plain.own", "page.own", "plain.resumed", "dropout.resumed", "plain.taken"
    done, _ = launch(mpiexec, request.param, path, *NAMES, *more)
    assert done.returncode == 0, done.stderr
    return request.param, path


def left(folder, task):
    n, path = folder
    return [checkpoint.load(path / f"{task}-{i}.npz") for i in range(n)]


@pytest.mark.parametrize("name", NAMES)
def test_all_ranks_have_the_same_bits_and_history(folder, name):
    first, *others = left(folder, name)
    assert all(same(first, other) for other in others)


@pytest.mark.parametrize("name", tasks.SAME)
def test_ranks_train_as_one_process_within_the_bound(folder, name):
    first, alone = left(folder, name)[0], tasks.fit(name)
    (parameters, one), (_, several) = bounds(name, 1), bounds(name, folder[0])
    for p, e, f in zip(parameters, one, several, strict=True):
        assert max(e.max(), f.max()) < 1e-11
        assert close(first["model"][p.label], alone["model"][p.label], e + f)
    for row, expected in zip(first["history"], alone["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-12)


def test_a_recorded_fit_and_an_eager_one_give_the_same_bits(folder):
    assert same(left(folder, "plain")[0], left(folder, "eager")[0])


def test_a_step_of_ones_own_adds_up_by_one_call(folder):
    own, fitted = left(folder, "plain.own"), left(folder, "plain")[0]
    assert same(own[0], own[1])
    assert own[0]["program"].count("all_reduce(") == 1
    assert same(own[0]["model"], fitted["model"])
    steps = len(own[0]["losses"]) // tasks.EPOCHS
    sizes = [tasks.BATCH] * (steps - 1) + [len(tasks.IMAGES) % tasks.BATCH]
    means = [np.average(own[0]["losses"][i * steps :][:steps], weights=sizes) for i in range(tasks.EPOCHS)]
    assert means == pytest.approx([row["loss"] for row in fitted["history"]], rel=1e-14)


def test_the_page_shows_the_end_of_the_program(folder):
    page = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    shown = page.split("<!-- the shared step -->\n```text\n")[1].split("\n```")[0]
    program = left(folder, "page.own")[0]["program"]
    assert program.endswith(shown) and "all_reduce" in shown, program


@pytest.mark.parametrize("name", ["plain", "dropout"])
def test_a_run_goes_on_with_the_same_bits(folder, name):
    assert same(left(folder, f"{name}.resumed"), left(folder, name))


def test_a_checkpoint_goes_on_with_another_number_of_ranks(folder):
    """From the middle of the second epoch, with one in place of several, and with several in place of one."""
    n, path = folder
    first, fewer = left(folder, "plain")[0], tasks.fit("plain", checkpoint=path / "plain-half.ckpt")
    more, *others = left(folder, "plain.taken")
    assert all(same(more, other) for other in others)
    (parameters, one), (_, several) = bounds("plain", 1), bounds("plain", n)
    for p, e, f in zip(parameters, one, several, strict=True):
        assert close(first["model"][p.label], fewer["model"][p.label], e + f)
        assert close(first["model"][p.label], more["model"][p.label], e + f)
    for rows in zip(first["history"], fewer["history"], more["history"], strict=True):
        assert all(row == pytest.approx(rows[0], rel=1e-12) for row in rows)


@pytest.mark.slow
def test_the_example(mpiexec, tmp_path):
    """The first rank alone prints and writes; the accuracy is that of one process."""
    script = str(Path(__file__).parents[2] / "examples" / "fashion_mnist" / "train.py")
    options = ["--data", "sample", "--epochs", "2", "--out"]
    done, _ = launch(mpiexec, 3, tmp_path / "three", program=script, before=["--mpi", *options])
    alone, _ = launch(mpiexec, 1, tmp_path / "one", program=script, before=options)
    assert done.returncode == alone.returncode == 0, done.stderr + alone.stderr
    rows = [re.findall(r"(?m)^epoch .*test loss|^test accuracy: .*", x.stdout) for x in (done, alone)]
    assert len(rows[0]) == 3 and rows[0] == rows[1]
    assert {x.name for x in (tmp_path / "three").iterdir()} == {x.name for x in (tmp_path / "one").iterdir()}


# --- who falls out ----------------------------------------------------------------------------------------------------

BADLY = {
    "error": "rank 1 of 2: ArithmeticError: of rank 1",
    "killed": None,
    "leaves": "out of step at exchange .*: rank 1 is at its end",
    "evaluates": "rank 1 is at something else",
    "sums": "rank 1 is at the first of the sum of 3 float64, rank 0 is at the weights after 20 steps",
    "frozen": "rank 1 is at the first of the sum of 49 float64, rank 0 is at the sum of 54 float64",
    "drifts": "the weights after 20 steps to be the same on all ranks, got rank 1 has .* rank 0 has",
    "data": "what fit is given to be the same on all ranks, got rank 1 has {'data': '[^']*'}, rank 0 has",
    "weights": "the weights and the optimizer's state to be the same on all ranks, got rank 1 has",
}
QUICK = {"killed", "frozen"}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BADLY])
def test_ranks_that_end_badly(name, mpiexec, tmp_path):
    """All end within seconds, and the message names the rank."""
    done, seconds = launch(mpiexec, 2, tmp_path, f"{name}.badly")
    assert done.returncode != 0
    said = done.stderr + done.stdout
    if name == "killed":
        process = re.search(r"rank 1 is process (\d+)", said)[1]
        assert re.search(rf"PID {process}|(?i:rank) 1 .*PID", said), said
    else:
        assert re.search(BADLY[name], said), said
    assert seconds < 60  # of 10,000 epochs; most of it is the start of Python on a busy machine
    if name not in ("data", "weights"):
        state = checkpoint.load(tmp_path / "run.ckpt")
        assert state["run"]["step"] >= 19
