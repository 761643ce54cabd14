"""README and docs cannot rot: their sessions are run, their tables are tried, their program is compared."""

import doctest
import functools
import math
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest

import scalar
import vector
from vector.runtime import blas
from viz.__main__ import main

ROOT = Path(__file__).parents[2]
PAGES = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
README = PAGES[Path("README.md")]


def after(marker, fence=None):
    """The table or fenced block that follows a marker."""
    (text,) = (page.split(f"<!-- {marker} -->\n", 1)[1] for page in PAGES.values() if f"<!-- {marker} -->" in page)
    return text.split(f"```{fence}\n", 1)[1].split("\n```", 1)[0] if fence else text.split("\n\n", 1)[0]


@pytest.mark.parametrize("page", [str(path) for path, text in PAGES.items() if ">>>" in text])
def test_sessions_print_what_they_say(page):
    test = doctest.DocTestParser().get_doctest(PAGES[Path(page)], {}, page, page, 0)
    names = test.globs
    with pytest.MonkeyPatch.context() as patch:  # which depends on the machine
        patch.setattr(vector.runtime.matmul, "small_products_at_once", lambda: True)
        patch.setattr(vector.runtime.matmul, "machine_cores", lambda: 2)
        result = doctest.DocTestRunner().run(test, clear_globs=False)
    assert result.failed == 0 and result.attempted > 4
    same_library = blas.routine("gemm_batch", np.dtype(np.float32)) is not None  # numpy has the library of the page
    if "train_step" in names and same_library:
        assert after("the program", "text") == str(names["train_step"].program)


def test_the_command_line_prints_what_it_says_and_writes_its_files(tmp_path, monkeypatch, capsys):
    command, _, printed = after("the command line", "console").partition("\n")
    python, option, module, *arguments = shlex.split(command.removeprefix("$ "))
    assert (python, option, module) == ("python", "-m", "viz")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{printed}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"graph.svg", "backprop.html"}


def test_the_block_shown_is_the_op_of_the_page():
    block = re.search(r"```python\n(@op.*?)```", README, re.S)[1]
    assert block in (ROOT / "scalar" / "ops.py").read_text()


def rows():
    for line in after("the semantics").splitlines()[2:]:
        expression, at, value, slopes = (cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        yield expression, at, value, slopes


def of_sequence(f, xs, *rest):
    return f(vector.stack(xs), *rest)


def numbers(cell):
    return [eval(x.replace("NaN", "nan"), {"inf": math.inf, "nan": math.nan}) for x in cell.split(",")]


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: f"{row[0]} at {row[1]}")
@pytest.mark.parametrize("engine", [scalar, vector], ids=["scalar", "vector"])
def test_semantics(engine, row):
    expression, at, value, slopes = row
    node = scalar.Value if engine is scalar else vector.Tensor
    inputs = [node(x) for x in numbers(at)]
    names = {name: getattr(engine, name) for name in engine.__all__}
    if engine is vector:  # sequences of nodes are tensors there
        for name in ("max", "softmax", "log_softmax", "logsumexp", "cross_entropy", "categorical_cross_entropy"):
            names[name] = functools.partial(of_sequence, getattr(vector, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = eval(expression, names | dict(zip("xyz", inputs, strict=False)))
        gradients = engine.grad(out, inputs)
    expected = [eval(x, {"inf": math.inf, "NaN": math.nan}) for x in slopes.split(",")]
    got = [0.0 + float(x) for x in (out.data, *gradients)]  # without the sign of a zero
    np.testing.assert_equal(got, [*numbers(value), *expected])
