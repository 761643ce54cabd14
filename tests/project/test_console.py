"""Every program here outlives its output: a pipe that nobody reads, an encoding that lacks letters, a full disk."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from example_runs import EXAMPLES, PREDICT, TRAIN, command, environment

from viz.console import run, say

RACE = "fashion_mnist/race.py"
PROGRAMS = ["tiny_expression.py", "moons.py", "compare_engines.py", "speed.py", TRAIN, PREDICT, RACE]
PROGRAMS += [f"fashion_mnist/{name}.py" for name in ("judge_photographs", "scaling")]
PROGRAMS += [f"names_gpt/{name}.py" for name in ("compare", "look", "race", "train")]
SHORT = [  # no options
    f"short/{name}.py" for name in ("class_weights", "convnet", "gru", "minimize", "own_layer", "regression")
]


def outcome(words: list[str], folder: Path, stdout: int, **more: str) -> tuple[int, str]:
    done = subprocess.run(
        words, cwd=folder, env=environment() | more, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )
    return done.returncode, done.stderr


def closed_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def test_programs_are_all_that_can_be_started() -> None:
    started = [path for path in EXAMPLES.rglob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert {path.relative_to(EXAMPLES).as_posix() for path in started} == {*PROGRAMS, *SHORT, "fashion_mnist/racers.py"}


@pytest.mark.parametrize("program", [*PROGRAMS, *SHORT])
def test_programs_print_by_say_alone(program: str) -> None:
    tree = ast.parse((EXAMPLES / program).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"]


@pytest.mark.parametrize("words", [["tiny_expression.py", "a.svg"], *([program, "--help"] for program in PROGRAMS[1:])])
def test_output_that_nobody_reads_is_no_error(words: list[str], tmp_path: Path) -> None:
    pipe = closed_pipe()
    assert outcome(command(*words), tmp_path, pipe) == (0, "")
    os.close(pipe)
    assert (tmp_path / "a.svg").exists() == (words[-1] == "a.svg")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("words", [["tiny_expression.py", "a.svg"], ["moons.py", "--help"]])
def test_a_full_disk_is_one_line(words: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        code, said = outcome(command(*words), tmp_path, full.fileno())
    assert (code, said) == (1, f"{words[0]}: [Errno 28] No space left on device\n")


class Output(io.TextIOWrapper):
    """An output of a test's own, with a descriptor."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__(os.fdopen(descriptor, "wb"), encoding)


@pytest.mark.parametrize(
    ("encoding", "seen"), [("cp1252", r"\u2588 \u03b1 é"), ("ascii", r"\u2588 \u03b1 \xe9"), ("utf-8", "█ α é")]
)
def test_characters_that_an_encoding_lacks(encoding: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdout", Output(write, encoding))
    say("█ α é")
    assert os.read(read, 100).decode(encoding) == f"{seen}\n"
    os.close(read)
    say("dropped")
    say("so, too")
    sys.stdout.close()


def test_a_program_that_fails_says_so_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(problem: BaseException) -> int:
        raise problem

    assert run("p", lambda: None) == 0 and run("p", lambda: 3) == 3
    assert run("p", lambda: fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""
    for problem in (ValueError("words"), FileNotFoundError("words"), FloatingPointError("words")):
        assert run("p", lambda problem=problem: fail(problem)) == 1
        assert capsys.readouterr().err == "p: words\n"
    with pytest.raises(ZeroDivisionError):  # a fault of ours: it keeps its traceback
        run("p", lambda: fail(ZeroDivisionError()))
