"""Both engines offer the same names, with the same arguments."""

import inspect

import pytest
from judging import elementwise, inside, sequence_ops

import scalar
import vector

# What only vector has: shapes, recording, and training on data.
ONLY_VECTOR = {"matmul", "reshape", "transpose", "broadcast_to", "concatenate", "stack", "take"}
ONLY_VECTOR |= {
    *("einsum", "inner", "kron", "outer", "tensordot", "trace"),
    *("argmax", "argmin", "argsort", "cumprod", "cumsum", "sort", "standardize", "topk"),
    *("cholesky", "det", "eigh", "inv", "qr", "slogdet", "solve", "svd"),
    *("avg_pool", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "fold", "max_pool", "unfold", "upsample"),
    *("diag", "diagonal", "expand_dims", "flatten", "flip", "hstack", "moveaxis", "pad", "ravel", "repeat", "roll"),
    *("split", "squeeze", "swapaxes", "take_along_axis", "tile", "tril", "triu", "vstack"),
}
ONLY_VECTOR |= {"EarlyStopping", "checkpoint", "compile", "datasets", "find_lr", "per_sample_grads", "remat"}
ONLY_VECTOR_MAY = {"RecordingError", "bernoulli"}  # recording's own error; ops that draw
MODULES = ("nn", "optim")
NODES = {"Value", "Tensor"}
AXES = {"axis", "keepdims", "ord"}  # what an op over a sequence takes besides, where the sequence is an array


def parameters(f):
    """The parameters of a function or class; an op's as its forward has them."""
    return [p for p in inspect.signature(getattr(f, "forward", f)).parameters.values() if p.name != "self"]


def arguments(f):
    """The arguments of a function or class by name, with their defaults."""
    return {p.name: p.default for p in parameters(f)}


def test_the_same_names():
    slow, fast = set(scalar.__all__) - NODES, set(vector.__all__) - NODES
    assert slow - fast == set()
    assert fast - slow - ONLY_VECTOR_MAY == ONLY_VECTOR
    for engine in (scalar, vector):
        assert list(engine.__all__) == sorted(engine.__all__)
        assert all(hasattr(engine, name) for name in engine.__all__)


SHARED = sorted(set(scalar.__all__) - NODES - set(MODULES))


@pytest.mark.parametrize("name", SHARED)
def test_the_same_arguments(name):
    slow, fast = arguments(getattr(scalar, name)), arguments(getattr(vector, name))
    if name in sequence_ops() or name in ("softmax", "log_softmax"):
        assert set(fast) - set(slow) - AXES <= {"x", "y"}  # (x) is (*xs) there
        assert all(default is not inspect.Parameter.empty for key, default in fast.items() if key in AXES)
    elif name == "backward_steps":
        assert list(slow) == list(fast)  # the gradient to start from is 1, or ones of the output's shape
    elif name == "op":
        assert set(slow) - set(fast) == {"over"}  # there a sequence is (*xs), which says it
    else:
        assert slow == fast


@pytest.mark.parametrize("name", SHARED)
def test_every_name_is_explained(name):
    assert inspect.getdoc(getattr(scalar, name))
    assert inspect.getdoc(getattr(vector, name))


CLASSES = [("nn", "Layer"), ("nn", "Sequential"), *(("optim", name) for name in ("Optimizer", "SGD", "Adam", "AdamW"))]
LAYERS = [("nn", name) for name in scalar.nn.__all__ if name not in ("Layer", "Sequential")]


@pytest.mark.parametrize("module, name", CLASSES + LAYERS)
def test_what_classes_are_made_of(module, name):
    slow, fast = (getattr(getattr(engine, module), name) for engine in (scalar, vector))
    first, more = arguments(slow), arguments(fast)
    by_place = [p.name for p in parameters(slow) if p.kind is not p.KEYWORD_ONLY]
    assert list(more)[: len(by_place)] == by_place
    assert {key: more[key] for key in first} == first


@pytest.mark.parametrize("module, name", CLASSES)
def test_methods_of_classes(module, name):
    slow, fast = (getattr(getattr(engine, module), name) for engine in (scalar, vector))
    for method in {m for m in vars(slow) if not m.startswith("_")} - {"named", "columns", "decoupled"}:
        assert hasattr(fast, method), method
        if callable(getattr(slow, method)):
            assert list(arguments(getattr(slow, method))) == list(arguments(getattr(fast, method))), method
        else:
            assert getattr(slow, method) == getattr(fast, method), method


KEPT = {
    "x",
    "y",
    "many",
    "x_saved",
    "y_saved",
    "inputs_saved",
    "saved",
    "keep",
}  # each engine's own way of keeping its graph


@pytest.mark.parametrize("name", [m for m in vars(scalar.Value) if m[0] != "_" and m not in KEPT])
def test_every_method_and_attribute_of_a_value(name):
    """Whatever a Value has, a Tensor has."""
    assert hasattr(vector.Tensor, name)
    slow, fast = getattr(scalar.Value, name), getattr(vector.Tensor, name)
    if inspect.isfunction(slow) and name != "lift":
        assert list(arguments(slow)) == list(arguments(fast))


@pytest.mark.parametrize("name", [n for n in elementwise() if len(scalar.ops.OPS[n].rules) == 1])
def test_every_op_of_one_input_is_a_method(name):
    params = {"low": 0.0, "high": 1.0} if name == "clip" else {}
    x = inside(name, 0.3)
    for engine, node in ((scalar, scalar.Value(x)), (vector, vector.Tensor([x]))):
        found, expected = getattr(node, name)(**params), getattr(engine, name)(node, **params)
        assert found.op is expected.op
        assert float(found.item()) == float(expected.item())


def test_a_new_node():
    for node in (scalar.Value(2, "a"), vector.Tensor(2, "a")):
        assert (node.data, node.grad, node.op, node.inputs, node.label) == (2.0, 0.0, None, (), "a")
        assert node.requires_grad
    for node in (scalar.Value(2, requires_grad=False), vector.Tensor(2, requires_grad=False)):
        out = node * 3.0
        assert (out.op, out.inputs, out.requires_grad) == (None, (), False)


@pytest.mark.parametrize("name", elementwise())
def test_both_pages_say_the_same(name):
    """Each engine is read alone, and they read alike: an op's docstring begins with its formula."""
    slow, fast = scalar.ops.OPS[name].__doc__, vector.ops.OPS[name].__doc__
    assert slow.split()[0].strip(".,;") == fast.split()[0].strip(".,;")


def test_no_engine_imports_the_other():
    import subprocess
    import sys

    for one, other in (("scalar", "vector"), ("vector", "scalar")):
        code = f"import sys, {one}; sys.exit(any(m.split('.')[0] in ('{other}', 'viz') for m in sys.modules))"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", [scalar, vector])
def test_an_op_says_its_name(module):
    assert {repr(op) for op in module.ops.OPS.values()} == {f"<op {name}>" for name in module.ops.OPS}


@pytest.mark.parametrize("module", [scalar, vector])
def test_an_optimizer_of_ones_own_has_all_to_say(module):
    """The base knows the parameters and the rate; how to step, and what to keep, is up to each kind."""
    layer = module.nn.Dense(1, 1, seed=0)
    base = module.optim.Optimizer(layer.parameters(), 0.1, 0.0)
    for missing in (base.step, base.settings, base.memory, base.state_dict):
        with pytest.raises(NotImplementedError):
            missing()


@pytest.mark.parametrize("engine, node", [(scalar, scalar.Value), (vector, vector.Tensor)])
def test_remainders_and_rounding_by_python(engine, node):
    x = node(7.26)
    results = [x % 2.0, 20.0 % x, round(x), round(x, 1)]
    assert [out.item() for out in results] == [7.26 % 2.0, 20.0 % 7.26, 7.0, 7.3]
    assert [float(engine.grad(out, x)) for out in results] == [1.0, -2.0, 0.0, 0.0]
