"""The structure as it is drawn: rooms, the arrows between them, and the paths that other programs import from."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each room may import those before it in its row, and what stands under it. `vector` itself stands above all.
STOREYS = {
    "scalar": ["op", "ops", "value autodiff pickling", "losses optim anomaly transforms", "nn"],
    "vector": [
        "errors epoch files held runtime schedules",
        "op",
        "ops",
        "tensor autodiff storage protocol pickling",
        "gradcheck random losses optim anomaly nn data",
        "transforms distributed",
        "compiler",
        "training",
        "datasets checkpoint exchange",
    ],
    "viz": ["nodes theme files console axes", "maths picture expression", "player zoom plots", "playground"],
}
PUBLIC = """
scalar: Value backward_steps categorical_cross_entropy cross_entropy detect_anomaly grad gradcheck log_softmax mse nn
scalar: no_grad optim softmax topological_order tanh exp where dot sum mean max min logsumexp
scalar: value_and_grad jacobian hessian vjp jvp hvp
scalar.nn: BatchNorm Conv2D Dense Embedding GRU Layer LayerNorm MultiHeadAttention RMSNorm Sequential
scalar.optim: SGD Adam AdamW
vector: RecordingError Tensor backward_steps categorical_cross_entropy checkpoint compile cross_entropy datasets
vector: detect_anomaly grad gradcheck mse nn no_grad optim topological_order matmul reshape transpose broadcast_to
vector: concatenate stack take where dot softmax log_softmax
vector: value_and_grad jacobian hessian vjp jvp hvp per_sample_grads remat
vector.nn: Dense Dropout Flatten Layer Sequential glorot_uniform he_normal zeros
vector.optim: SGD Adam AdamW constant stepped cosine
vector.datasets: CLASS_NAMES Batches FashionMNIST fashion_mnist fashion_mnist_sample read_idx
vector.checkpoint: CheckpointError load save
vector.distributed: Ranks
viz: draw overview render svg steps formula derivative play zoom
viz.plots: curves confusion predictions
"""


def files(package):
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, inside_functions=False):
    """The modules of this project that a file imports, by their full names."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        late = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not inside_functions
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if late or typing:
            skipped |= {id(x) for part in node.body for x in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if (ROOT / (inner.replace(".", "/") + ".py")).exists() or is_package(inner) else base


def is_package(name):
    return (ROOT / name.replace(".", "/") / "__init__.py").exists()


def storey(module):
    package, _, inner = module.partition(".")
    room = inner.partition(".")[0]
    for height, rooms in enumerate(STOREYS[package]):
        if room in rooms.split():
            return height
    raise AssertionError(f"{module} stands in no storey of {package}")


@pytest.mark.parametrize("package", STOREYS)
def test_imports_run_one_way(package):
    wrong = []
    for path in files(package):
        module = module_of(path)
        if module in (package, f"{package}.__main__"):
            continue
        for other in imports(path):
            if other.startswith(f"{package}.") and storey(other) > storey(module):
                wrong.append(f"{module} imports {other}")
    assert not wrong


@pytest.mark.parametrize("package", STOREYS)
def test_no_circles(package):
    graph = {}
    for path in files(package):
        module = module_of(path)
        graph[module] = {x for x in imports(path) if x.startswith(f"{package}.") and x != module}
    list(TopologicalSorter(graph).static_order())


def test_the_check_finds_an_arrow_that_runs_back():
    assert storey("vector.compiler.step") > storey("vector.optim")
    with pytest.raises(AssertionError, match="stands in no storey"):
        storey("vector.attic")


@pytest.mark.parametrize("package", STOREYS)
def test_the_engines_do_not_know_each_other_and_pictures_know_neither(package):
    others = {"scalar": {"vector", "viz"}, "vector": {"scalar", "viz"}, "viz": {"scalar", "vector"}}[package]
    for path in files(package):
        found = {x.partition(".")[0] for x in imports(path, inside_functions=True)}
        if package == "viz" and path.name in ("__main__.py", "zoom.py"):  # they make Values
            found -= {"scalar"}
        assert not found & others, path


def test_the_core_never_imports_its_compiler():
    for path in files("vector"):
        room = module_of(path).split(".")[1:2]
        if room not in (["compiler"], ["training"], []):
            assert not any(x.startswith("vector.compiler") for x in imports(path, inside_functions=True)), path


@pytest.mark.parametrize("line", PUBLIC.strip().splitlines())
def test_public_paths(line):
    module, names = line.split(": ")
    for name in names.split():
        assert hasattr(importlib.import_module(module), name), f"from {module} import {name}"


def test_no_words_of_old_mechanisms():
    """No bytecode for rules, no guard written as text and executed, no counting of references."""
    for package in ("scalar", "vector"):
        for path in files(package):
            text = path.read_text()
            assert "getrefcount" not in text, path
            assert path.name == "guards.py" or not re.search(r"\bimport dis\b", text), path
            assert "exec(" not in text or path.name == "codegen.py", path
            if "compiler" not in path.parts:
                assert "recorder" not in text and "Tracer" not in text, path


# An editable installation would find the compiler in the folder that it is installed from.
ALONE = """import sys
sys.meta_path[:] = [x for x in sys.meta_path if not getattr(x, "__module__", "").startswith("__editable__")]
"""


def test_the_core_lives_without_its_compiler(tmp_path):
    """Taken away, `vector` imports, trains, and passes its own tests."""
    shutil.copytree(ROOT, tmp_path / "house", ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "runs"))
    shutil.rmtree(tmp_path / "house/vector/compiler")
    (tmp_path / "house/sitecustomize.py").write_text(ALONE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not compiler"]
    command += ["tests/vector", "--ignore=tests/vector/test_numpy_sweep.py"]  # which would take a minute
    house = tmp_path / "house"
    environment = {"PYTHONPATH": str(house), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]


def test_training_without_the_compiler(tmp_path):
    shutil.copytree(ROOT / "vector", tmp_path / "vector", ignore=shutil.ignore_patterns("__pycache__", "compiler"))
    program = f"""{ALONE}
import numpy as np
import vector
from vector import nn, optim
data = vector.datasets.fashion_mnist_sample()
model = nn.Sequential(nn.Flatten(), nn.Dense(784, 10, seed=0))
rows = model.fit(data.train_images, data.train_labels, optim.SGD(model.parameters(), 0.1), compile=False)
assert rows[0]["accuracy"] > 0.4
try:
    vector.compile
except ImportError as error:
    assert "compiler" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
