"""The examples as a reader runs them, each in a process of its own, or as modules."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAIN, PREDICT = "fashion_mnist/train.py", "fashion_mnist/predict.py"


def command(example: str, *arguments: object) -> list[str]:
    return [sys.executable, str(EXAMPLES / example), *map(str, arguments)]


def environment() -> dict[str, str]:
    paths = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}


def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


KNOWN: dict[Path, dict[str, ModuleType]] = {}  # by folder the modules that were imported from it


@contextmanager
def importing(folder: Path) -> Iterator[None]:
    """Inside, modules are imported from an example's folder first, whatever other folders call theirs."""
    names = {path.stem for path in folder.glob("*.py")}
    outside = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.modules.update(KNOWN.get(folder, {}))
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        KNOWN[folder] = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
        sys.modules.update(outside)
