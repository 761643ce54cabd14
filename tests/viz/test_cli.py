"""The command line: tables, steps and files, and error messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import scalar
import viz
from scalar import Value
from viz.__main__ import main

ROOT = Path(viz.__file__).parent.parent
EXPRESSION = ["tanh(a*b + c)", "a=2", "b=-3", "c=10"]
TABLE = """\
node                    value     dL/dnode
a                         2.0  -0.00402285
b                        -3.0    0.0026819
a * b                    -6.0   0.00134095
c                        10.0   0.00134095
a * b + c                 4.0   0.00134095
L = tanh(a * b + c)  0.999329          1.0
"""


def test_the_table_of_values_and_gradients() -> None:
    done = subprocess.run([sys.executable, "-m", "viz", *EXPRESSION], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == (TABLE, "", 0)


def test_steps_are_those_of_viz(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EXPRESSION, "--steps"]) == 0
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(10.0, "c")
    assert capsys.readouterr().out.splitlines() == "\n".join(map(str, viz.steps((a * b + c).tanh()))).splitlines()


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        ("svg", "<?xml"),
        ("png", "\x89PNG"),
        ("pdf", "%PDF"),
        ("html", "<!doctype html>"),
        ("tex", "\\documentclass"),
        ("dot", "digraph {"),
    ],
)
def test_every_format_is_written(suffix: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"graph.{suffix}"
    assert main([*EXPRESSION, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{TABLE}{path}\n"
    assert path.read_bytes().decode("latin-1").startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_a_document_has_formula_and_chain_rule(tmp_path: Path) -> None:
    assert main([*EXPRESSION, "-o", str(tmp_path / "x.tex")]) == 0
    text = (tmp_path / "x.tex").read_text()
    assert r"L = \tanh(a \cdot b + c)" in text.replace("&", "").replace("  ", " ")
    assert text.count(r"\mathrel{+}=") == 5
    assert r"\frac{\partial L}{\partial (a \cdot b)} \cdot b" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tanh(a*b + cc)", "a=2", "b=3"],
            "viz: column 12: no value for cc; add cc=...\n  tanh(a*b + cc)\n             ^\n",
        ),
        (["a", "a=x"], "viz: expected name=number, like a=2, got 'a=x'\n"),
        (["a", "a"], "viz: expected name=number, like a=2, got 'a'\n"),
        (["a", "a=1", "a=2"], "viz: expected name=number, like a=2, once for each name, got 'a=2'\n"),
        (
            ["a", "a=1", "-o", "x.gif"],
            "viz: expected a file that ends in .svg, .png, .pdf, .html, .tex, .dot, got 'x.gif'\n",
        ),
        (["a", "a=1", "-o", "/no/x.dot"], "viz: cannot write /no/x.dot: No such file or directory\n"),
    ],
)
def test_mistakes_end_with_status_2_on_stderr(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == message


def test_an_expression_may_start_with_a_minus(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-a*b", "a=2", "b=-3"]) == 0
    assert "6.0" in capsys.readouterr().out.splitlines()[-1]


def test_without_an_expression_the_help_explains(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status in ([], 2), (["--help"], 0):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == status
        text = "".join(capsys.readouterr())
        for word in ("expression", "name=value", "--steps", "-o FILE", *scalar.ops.OPS):
            assert word in text


@pytest.mark.parametrize("words", [["-o", "graph.dot", "-o", "graph.tex"], ["--steps", "-o", "graph.dot"], ["--help"]])
def test_output_that_nobody_reads(words: list[str], tmp_path: Path) -> None:
    """As after `| true`: no traceback, and the files are written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "viz", "tanh(a*b + c)", "a=2", "b=-3", "c=10", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(word for word in words if "graph" in word)


@pytest.mark.parametrize("words", [[], ["--steps"]])
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "shift_jis"])
def test_output_in_an_encoding_that_lacks_letters(encoding: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "viz", "α * β", "α=2", "β=3", *words, "-o", "φ.dot"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert (done.stderr, done.returncode) == (b"", 0)
    assert ("α" if encoding == "shift_jis" else r"\u03b1") in done.stdout.decode(encoding)
    assert (tmp_path / "φ.dot").read_text(encoding="utf-8").startswith("digraph")


def test_what_is_too_large_to_draw_can_be_drawn_in_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.dot"
    long = ["+".join(["a"] * 600), "a=1", f"-o{path}"]
    assert main(long) == 2
    assert "more than --max-nodes 500 nodes; draw the part near the root with --depth " in capsys.readouterr().err
    assert main([*long, "--depth=3"]) == 0
    assert path.read_text().count("fillcolor=") == 5
    assert main([*long, "--max-nodes", "700"]) == 0
    assert path.read_text().count("fillcolor=") == 600


def test_numbers_alone_and_a_name_that_the_result_would_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["1+1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["L", "2.0", "0.0"]
    assert main(["L*2", "L=3"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split("  ")[-1] == "d(L * 2)/dnode"


def test_an_option_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["a*2", "a=1", "--foo"])
    assert ended.value.code == 2
    assert "unknown option --foo; see --help" in capsys.readouterr().err


def test_a_name_like_an_argument_of_draw_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["depth*2", "depth=x"]) == 2
    assert "got 'depth=x'" in capsys.readouterr().err


def test_the_playground_is_written_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--playground", "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for arguments in (["--playground"], ["--playground", "-o", "page.svg"], ["--playground", "-o", "a.html", "a*b"]):
        assert main(arguments) == 2
    assert "expected one page to write, as in --playground -o playground.html" in capsys.readouterr().err


def test_a_picture_that_is_shrunk_is_told_on_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["+".join(["a"] * 250), "a=1", "-o", str(tmp_path / "long.png")]) == 0
    told = capsys.readouterr().err
    assert (
        told.startswith("viz: render: the picture is larger than a PNG can be, and shrunk to ")
        and told.count("\n") == 1
    )
