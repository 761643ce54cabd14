"""Mutation testing: change one place of a module, run the tests that know it, and see whether one of them minds.

    python tests/project/mutants.py                          every mutant of every module in MODULES
    python tests/project/mutants.py vector/ops/axes.py --sample 100 --seed 1

A parent process has everything imported but the packages under test. For each mutant it forks; the child imports the
changed module in the place of the real one and runs pytest, stage by stage, until a test fails. What outlives all
stages is listed, as the statement before and after. Survivors that change nothing a test could see stand in
`mutants.txt` with the reason, and are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.extra.numpy
import numpy as np  # noqa: F401  (what the tests import anyway is imported once, here)
import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
ROOT = TESTS.parent

VECTOR_OPS = [
    "vector kept_gradients as_numpy operators errors",
    "semantics",
    "mutation judges",
    "agreement_ops readme viz_steps compile fit workers anomaly twins",
]

# The tests that know a module, in stages: most mutants die in the first and never see the others. The last is slow.
MODULES = {
    "scalar/op.py": ["scalar scalar_backward errors", "mutation judges", "agreement_ops anomaly twins memory"],
    "scalar/ops.py": [
        "semantics scalar errors",
        "mutation judges",
        "agreement_ops agreement_graphs anomaly twins memory",
    ],
    "scalar/autodiff.py": [
        "scalar scalar_backward memory errors",
        "semantics mutation",
        "anomaly judges agreement_graphs",
    ],
    "scalar/value.py": ["scalar scalar_backward memory errors", "mutation twins anomaly"],
    "scalar/transforms.py": ["transforms_agree"],
    "scalar/nn/base.py": ["layers_alone layers", "layers_agree"],
    "scalar/nn/dense.py": ["layers_alone layers", "layers_agree"],
    "scalar/nn/norm.py": ["layers_alone", "layers_agree"],
    "scalar/nn/convolution.py": ["layers_alone", "layers_agree"],
    "scalar/nn/sequence.py": ["layers_alone", "layers_agree"],
    "vector/op.py": VECTOR_OPS,
    "vector/ops/elementwise.py": VECTOR_OPS,
    "vector/ops/shapes.py": VECTOR_OPS,
    "vector/ops/axes.py": VECTOR_OPS,
    "vector/ops/products.py": VECTOR_OPS,
    "vector/gradcheck.py": ["judges", "mutation vector errors as_numpy"],
    "vector/storage.py": ["vector kept_gradients operators", "mutation errors", "memory fed_back compile_results"],
    "vector/transforms.py": ["transforms", "transforms_agree"],
    "vector/optim.py": ["optim", "optimizer_state twins", "agreement_networks"],
    "vector/held.py": ["nn_layer", "fit"],
    "vector/random.py": ["recorded_numpy", "fit"],
    "vector/nn/base.py": ["nn nn_layer", "layers whole_files", "checkpoint fit"],
    "vector/nn/dense.py": ["nn errors", "nn_layer layers", "agreement_networks fit"],
    "vector/nn/dropout.py": ["nn", "nn_layer fit", "compile"],
    "vector/nn/hidden.py": ["nn_layer", "nn layers"],
    "vector/nn/initial.py": ["nn nn_memory", "nn_layer layers", "agreement_networks"],
    "vector/nn/outline.py": ["nn nn_layer", "layers readme"],
    "vector/nn/attention.py": ["layers_alone", "layers_agree"],
    "vector/nn/combine.py": ["layers_alone nn_layer", "layers_agree"],
    "vector/nn/norm.py": ["layers_alone", "layers_agree"],
    "vector/nn/recurrent.py": ["layers_alone", "layers_agree"],
    "vector/autodiff.py": ["vector memory errors", "semantics mutation", "anomaly judges compile compile_refusals"],
    "vector/compiler/arguments.py": ["arguments fed_back", "compile_results", "compile compile_refusals"],
    "vector/compiler/floats.py": ["arguments", "compile_refusals compile_results"],
    "vector/compiler/verify.py": ["verify", "stale compile_refusals", "fit"],
    "vector/compiler/guards.py": ["guards", "recorded_numpy arguments", "compile_refusals", "compile compile_memory"],
    "vector/compiler/ir.py": ["ir codegen exact_passes", "plan regions", "compile compile_results"],
    "vector/compiler/alias.py": ["ir exact_passes fuse_updates", "plan regions parallel", "compile compile_results"],
    "vector/compiler/memory.py": ["plan parallel", "compile long"],
    "vector/compiler/codegen.py": ["codegen parallel", "readme compile compile_memory"],
    "vector/compiler/passes/exact.py": ["exact_passes", "recorded_numpy ir readme", "compile compile_results fit"],
    "vector/compiler/passes/fast_math.py": ["fast_math", "readme", "compile fit"],
    "vector/compiler/passes/layout.py": ["layout exact_passes", "readme", "compile fit"],
    "vector/compiler/passes/fuse_updates.py": ["fuse_updates", "exact_passes readme", "compile fit"],
    "vector/compiler/passes/parallel.py": ["regions parallel", "workers", "compile fit"],
    "vector/compiler/passes/accumulate.py": ["accumulate", "fuse_updates parallel", "codegen readme"],
    "vector/compiler/passes/at_once.py": ["at_once", "codegen workers"],
    "vector/compiler/passes/scatter.py": ["scatter", "exact_passes"],
    "vector/compiler/profile.py": ["profile"],
    "vector/runtime/blas.py": ["accumulate at_once"],
    "vector/runtime/matmul.py": ["workers vector", "parallel regions", "fit compile"],
    "vector/runtime/threads.py": ["workers parallel", "vector fit", "compile long"],
}
PROFILE = hypothesis.settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # the smallest example is of no interest
    suppress_health_check=list(hypothesis.HealthCheck),
)
SECONDS = 60  # of computing, for all stages of a mutant; what loops forever is killed
MEMORY = 4 << 30


# --- what may be wrong in one place -----------------------------------------------------------------------------------

FLIPPED = {
    **{ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt)},
    **{ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,)},
    **{ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.And: (ast.Or,), ast.Or: (ast.And,)},
    **{ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.Pow: (ast.Mult,)},
    **{ast.FloorDiv: (ast.Mult,), ast.Mod: (ast.FloorDiv,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,)},
}
SISTERS = [("any", "all"), ("min", "max"), ("minimum", "maximum"), ("sin", "cos"), ("exp", "exp2"), ("log", "log2"),
           ("zeros", "ones"), ("zeros_like", "ones_like")]  # fmt: skip
OTHER = {a: b for pair in SISTERS for a, b in (pair, pair[::-1])}
SYMMETRIC = {"max", "min", "may_overlap", "may_share_memory", "plus", "same"}
DROPPED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Break, ast.Continue)


def variants(node: ast.AST, parent: ast.AST, field: str) -> Iterator[Any]:
    """What may stand wrongly in a node's place."""
    match node:
        case ast.cmpop() | ast.operator() | ast.boolop():
            yield from (other() for other in FLIPPED.get(type(node), ()))
        case ast.UnaryOp():
            yield node.operand
        case ast.BoolOp():
            rest = [[x for x in node.values if x is not dropped] for dropped in node.values]
            yield from (ast.BoolOp(node.op, xs) if len(xs) > 1 else xs[0] for xs in rest)
        case ast.Constant(value=bool(x)):
            yield ast.Constant(not x)
        case ast.Constant(value=int(x) | float(x)):
            yield from (ast.Constant(y) for y in {x + 1: 0, -x: 0, x - 1: 0} if y != x)
        case ast.Constant(value=str(x)):
            yield ast.Constant(x + "_")
        case ast.Name(id=x) if x in OTHER and field == "func":
            yield ast.Name(OTHER[x], node.ctx)
        case ast.Attribute(attr=x) if x in OTHER:
            yield ast.Attribute(node.value, OTHER[x], node.ctx)
        case ast.Call():
            if len(node.args) > 1 and ast.unparse(node.func).split(".")[-1] not in SYMMETRIC:
                yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
            for dropped in (k for k in node.keywords if k.arg != "strict"):
                yield ast.Call(node.func, node.args, [k for k in node.keywords if k is not dropped])
        case ast.Slice():
            if node.lower:
                yield ast.Slice(None, node.upper, node.step)
            if node.upper:
                yield ast.Slice(node.lower, None, node.step)
            if node.step:
                yield ast.Slice(node.lower, node.upper, None)
        case ast.Return(value=ast.expr() as x) if not (isinstance(x, ast.Constant) and x.value is None):
            yield ast.Return(None)
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
    names = isinstance(node, ast.Assign) and any(isinstance(x, ast.Name) for t in node.targets for x in targets(t))
    if isinstance(node, DROPPED) or (isinstance(node, ast.Assign) and not names):  # without a name nothing would run
        yield ast.Pass()
    if field == "test" or (isinstance(parent, ast.comprehension) and field == "ifs"):
        yield from (ast.Constant(x) for x in (True, False) if not (x and isinstance(parent, ast.While)))


def targets(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple) else [target]


def places(parent: ast.AST, field: str = "") -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Where something stands in a tree: (parent, field, index or None, node). Left out is what only people read:
    docstrings, annotations and messages."""
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns") or (isinstance(parent, ast.Raise) and field == "exc"):
            continue
        for i, node in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr) or not isinstance(node, ast.AST):
                continue
            if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: it never speaks
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue
            yield parent, field, i if isinstance(value, list) else None, node
            yield from places(node)


class Mutant:
    """One change: where in the tree, by what, and how it reads."""

    def __init__(self, parent: ast.AST, field: str, i: int | None, new: ast.AST) -> None:
        self.parent, self.field, self.i, self.new = parent, field, i, new
        self.line, self.text = 0, ""

    def shown(self) -> str:
        """The text, with the line number in it."""
        path, rest = self.text.split(" ", 1)
        return f"{path}:{self.line}: {rest}"

    def swap(self) -> None:
        """Put the new node into the tree and remember the old one; a second call undoes it."""
        value = getattr(self.parent, self.field)
        if self.i is None:
            setattr(self.parent, self.field, self.new)
        else:
            value[self.i], value = self.new, value[self.i]
        self.new = value


def mutants_of(path: str) -> tuple[ast.Module, list[Mutant]]:
    """A module's tree and its mutants, each with its line and as `where: statement -> changed statement`."""
    tree = ast.parse((ROOT / path).read_text())
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for top in tree.body:
        name = getattr(top, "name", "module")
        if name == "module" and ast.unparse(top).startswith(("__all__", "import", "from")):
            continue
        before, line = ast.unparse(top).splitlines(), top.lineno
        changes = [
            Mutant(*at[:3], new) for at in places(ast.Module([top], [])) for new in variants(at[3], at[0], at[1])
        ]
        for mutant in changes:
            value = getattr(mutant.parent, mutant.field)
            old = value if mutant.i is None else value[mutant.i]
            mutant.line = getattr(old, "lineno", None) or getattr(mutant.parent, "lineno", line)
            mutant.swap()
            after = ast.unparse(ast.fix_missing_locations(top)).splitlines()
            mutant.swap()
            a, b = different(before, after)
            text = f"{path} {name}: {a} -> {b}"
            seen[text] += 1
            mutant.text = text if seen[text] == 1 else f"{text} ({seen[text]})"
            if a != b:
                found.append(mutant)
    return tree, found


def different(before: list[str], after: list[str]) -> tuple[str, str]:
    """The lines that differ, as one each."""
    start = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return tuple(" ".join(x.strip() for x in lines[start : len(lines) - end]) for lines in (before, after))


# --- a mutant before the tests ----------------------------------------------------------------------------------------


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `tree` where the module at `path` is asked for."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path, self.tree = ROOT / path, tree
        self.name = path.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def exec_module(self, module: Any) -> None:
        tree = ast.fix_missing_locations(self.tree)
        exec(compile(tree, str(self.path), "exec", dont_inherit=True), module.__dict__)


OPTIONS = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-k", "not long_chain"]


def passes(path: str, tree: ast.Module, mutant: Mutant | None, stage: str, show: bool = False) -> bool:
    """Whether all tests of a stage pass, in a process of their own, with the module as the mutant has it."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(10 * SECONDS)
        if not show:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
        if mutant:
            mutant.swap()
        sys.meta_path.insert(0, Instead(path, tree))
        files = [str(next(TESTS.glob(f"*/test_{name}.py"))) for name in stage.split()]
        code = int(pytest.main([*OPTIONS, "--rootdir", str(ROOT), *files]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def equivalents() -> dict[str, str]:
    """Mutants that change nothing a test could see, and why: in `mutants.txt`, a reason above those it holds for."""
    reasons, reason = {}, ""
    for line in (HERE / "mutants.txt").read_text().splitlines():
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line:
            reasons[line] = reason
    return reasons


def chosen_of(path: str, options: argparse.Namespace) -> tuple[ast.Module, list[Mutant], int]:
    """A module's tree, the mutants to try, and how many it has."""
    tree, mutants = mutants_of(path)
    total = len(mutants)
    if options.again:
        lines = {re.sub(r":\d+: ", " ", line, count=1) for line in options.again.read_text().splitlines()}
        mutants = [m for m in mutants if m.text in lines]
    if options.sample:  # the smallest hashes: the same ones however the rest of the module changes
        mutants.sort(key=lambda m: sha256(f"{options.seed} {m.text}".encode()).digest())
        mutants = mutants[: options.sample]
    return tree, mutants, total


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES), help="such as vector/ops/axes.py; all without any")
    parser.add_argument("--sample", type=int, help="at most so many mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--quick", action="store_true", help="leave out each module's last, slow tests")
    parser.add_argument("--again", type=Path, help="only the survivors that an earlier run printed into this file")
    parser.add_argument("--pause", type=Path, help="wait before the next mutant as long as this file is there")
    options = parser.parse_args()
    if {"scalar", "vector", "viz"} & sys.modules.keys():
        raise SystemExit("expected a process without the packages under test, and one is imported already")
    hypothesis.settings.register_profile("mutants", PROFILE)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    known, rows = equivalents(), []
    for path in options.modules:
        start = time.time()
        tree, mutants, total = chosen_of(path, options)
        stages = MODULES[path][: -1 if options.quick else None]
        for stage in stages:
            if not passes(path, tree, None, stage, show=True):
                raise SystemExit(f"{path}: expected tests that pass without a change, and one fails in: {stage}")
        tried = [m for m in mutants if m.text not in known]
        alive = 0
        for mutant in tried:
            while options.pause and options.pause.exists():
                time.sleep(20)
            if all(passes(path, tree, mutant, stage) for stage in stages):
                alive += 1
                print(mutant.shown(), flush=True)
        dead, same = len(tried) - alive, len(mutants) - len(tried)
        share, seconds = dead / max(len(tried), 1), time.time() - start
        rows.append(f"{path:20} {total:8} {len(mutants):6} {same:6} {dead:6} {alive:6} {share:7.1%} {seconds:5.0f}")
    print(f"\n{'module':20} {'mutants':>8} {'drawn':>6} {'equal':>6} {'killed':>6} {'alive':>6} {'share':>7} {'s':>5}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
