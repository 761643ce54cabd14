"""What examples/fashion_mnist/scaling.py predicts, and that it measures."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from example_runs import EXAMPLES, command, run

SCRIPT = EXAMPLES / "fashion_mnist" / "scaling.py"


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_adding_up_takes(scaling):
    here = scaling.Network("here", 1e-5, 1e-9, 1e-10)
    assert here.all_reduce(2, 0) == pytest.approx(1e-5)  # one message each way
    assert here.all_reduce(1024, 0) == pytest.approx(1e-4)  # ten
    assert here.all_reduce(2, 10**6) == pytest.approx(2e-5 + 1.05e-3)  # a half, added, and back
    assert here.all_reduce(4, 10**6) == pytest.approx(4e-5 + 0.75 * 2.1e-3)  # halves, then quarters, and back
    assert here.all_reduce(1024, 10**9) == pytest.approx(2e-4 + 1023 / 1024 * 2.1)


def test_what_is_added_up(scaling):
    case = scaling.Case((784, 128, 10), 128)
    assert case.numbers == 101_770 + 1
    assert scaling.rows_of(case) == [128, 64, 32, 16, 8, 4, 2, 1]
    assert len(scaling.rows_of(scaling.Case((784, 10), 60_000))) == 11


def test_the_prediction_says_where_it_is_quickest(scaling):
    case = scaling.Case((784, 10), 4)
    free, dear = scaling.Network("free", 0.0, 0.0, 0.0), scaling.Network("dear", 1.0, 0.0, 0.0)
    rows = scaling.prediction(case, {4: 4.0, 2: 2.0, 1: 1.0}, [free, dear]).splitlines()
    assert rows[2:5] == ["| 1 | 4 | 1.00 | 1.00 |", "| 2 | 2 | 2.00 | 1.33 |", "| 4 | 1 | 4.00 | 1.33 |"]
    assert "| quickest with | | 4 | 2 |" in rows and "| half of each rank's time pays, up to | | 4 | 2 |" in rows


@pytest.mark.slow
def test_it_measures_two_ranks(tmp_path):
    pytest.importorskip("mpi4py", reason="no mpi4py: pip install 'twograd[mpi]'")
    if not (Path(sys.executable).with_name("mpiexec").exists() or shutil.which("mpiexec")):
        pytest.skip("no mpiexec, which starts the ranks")
    printed = run(tmp_path, *command("fashion_mnist/scaling.py", "--ranks", 1, 2, "--rounds", 1)).stdout
    assert printed.count("| 784-128-10, 128 images | ") == 4 and "| 1,024 | 1 |" in printed
