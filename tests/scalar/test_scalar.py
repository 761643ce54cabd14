"""`scalar` by itself: micrograd's programs run unchanged, and what a Value does as a Python object."""

import copy
import functools
import math
import pickle
import re

import numpy as np
import pytest
from judging import SAMPLES, inside, same

import scalar
from scalar import Value
from scalar.op import Op, ieee


def test_micrograds_readme():
    """The example of micrograd's README, with the numbers that it prints."""
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


def test_micrograds_way_of_training():
    """`p.grad = 0`, `p.data += -lr * p.grad`: attributes are plain."""
    w, b = Value(0.0), Value(0)
    for _ in range(300):
        loss = sum(((w * x + b - y) ** 2 for x, y in [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Value(0.0))
        for p in (w, b):
            p.grad = 0
        loss.backward()
        for p in (w, b):
            p.data += -0.05 * p.grad
    assert (w.data, b.data) == (pytest.approx(2.0, abs=1e-6), pytest.approx(1.0, abs=1e-6))


def test_reflected_forms():
    x = Value(2.0)
    pairs = [(3 + x, 5.0), (3 - x, 1.0), (3 * x, 6.0), (3 / x, 1.5), (3**x, 9.0), (-x, -2.0), (abs(-x), 2.0)]
    for out, expected in pairs:
        assert out.item() == expected
    for number in (np.float64(3.0), np.float32(3.0), np.int64(3)):
        for out in (number * x, x * number, number + x, number - x, number / x):
            assert type(out) is Value


def test_comparisons_are_plain_bools():
    x = Value(2.0)
    assert (x > 1, x >= 2, x < 3.0, x <= Value(2.0), x == 2, x != 3, 2.0 == x) == (True,) * 7
    assert (x == "two", x != "two") == (False, True)
    nan = Value(math.nan)
    assert nan != nan and not nan == nan and nan in [nan] and nan not in [Value(math.nan)]


def test_two_nodes_are_two_whatever_their_numbers():
    """In lists as in sets and dicts: who goes through a graph, or gathers parameters, takes none for another."""
    x, y = Value(1.0), Value(1.0)
    assert x == x and x != y and not x == y and {x: 1}[x] == 1 and len({x, y}) == 2
    parameters = [y, x]
    assert x in parameters and x not in [y] and parameters.index(x) == 1 and parameters.count(x) == 1
    parameters.remove(x)
    assert parameters[0] is y
    order, root = [], x * y + x * 1.0

    def visit(node):
        if node not in order:
            for inner in node.inputs:
                visit(inner)
            order.append(node)

    visit(root)
    assert {id(node) for node in order} == {id(node) for node in scalar.topological_order(root)} and len(order) == 6


@pytest.mark.parametrize("name", scalar.ops.OPS)
def test_a_tie_is_one_among_nodes_too(name):
    """For second derivatives rules are given nodes: they must ask for numbers, by <= and >=, not whether they are one.
    In a tie of different nodes, each slope is the same number as without a graph of it."""
    op = scalar.ops.OPS[name]
    for number in (1.0, 0.5, 0.0):
        nodes = [Value(number) for _ in range(len(op.inputs) * (3 if op.over else 1))]
        settings = {key: SAMPLES[key][0] for key in op.defaults}
        with np.errstate(all="ignore"):
            out = Value.apply(op, nodes, settings)
            slopes = scalar.grad(out, nodes, create_graph=True)
            assert same([slope.data for slope in slopes], scalar.grad(out, nodes)).all(), number


def test_data_is_a_float():
    for out in (Value(3), Value(np.float32(0.5)), Value(2) ** 3, scalar.exp(Value(1)), scalar.max([Value(1), 2])):
        assert type(out.data) is float
    out = scalar.tanh(Value(0.3)) * scalar.log(Value(2.0))
    x = Value(0.5)
    (scalar.power(x, 2) * out + scalar.softplus(x)).backward()
    assert type(x.grad) is float


def test_ops_of_one_number_are_methods():
    for name, op in scalar.ops.OPS.items():
        assert hasattr(Value, name) == (len(op.inputs) == 1 and not op.over), name


def test_ops_on_plain_numbers_just_compute():
    for name, op in scalar.ops.OPS.items():
        if not op.over and not op.defaults:
            assert type(op(*[inside(name, 0.5)] * len(op.rules))) is float, name
    assert scalar.sum([1.0, 2.0]) == 3.0
    assert scalar.where(True, 1.0, 2.0) == 1.0


def test_nothing_raises_what_ieee_has_a_number_for():
    """Python raises on 1 / 0 and 10.0 ** 400; here they are inf, with numpy's warning."""
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert (Value(1.0) / 0.0).data == math.inf
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert (Value(10.0) ** 400).data == math.inf
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert (Value(1e308) * 10.0).data == math.inf
    with pytest.warns(RuntimeWarning, match="invalid"):
        assert math.isnan((Value(math.inf) - math.inf).data)


def test_a_rule_that_reads_what_there_is_not():
    """It fails where it is written down, before anybody calls it."""
    known = "g, out, x, y, x_shape, y_shape, slope"

    def line(x, y, slope: float = 1.0):
        return slope * x + y

    for wrong, name in [
        (lambda g, z: g * z, "z"),
        (lambda g, x, slopes: g * x * slopes, "slopes"),
        (lambda g, z_shape: g, "z_shape"),
        (lambda g, *xs: g, "*xs"),
        (lambda gradient: gradient, "gradient"),
    ]:
        for rules in ((wrong, lambda g: g), (lambda g: g, wrong)):
            message = f"line: expected a rule that reads some of {known}, got {name}"
            with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
                scalar.op(*rules)(line)
        with pytest.raises(TypeError, match=re.escape(f"got {name}")):
            scalar.ops.add.rules = (wrong, lambda g: g)
    with pytest.raises(ValueError, match="op: expected a new name, got tanh, which is an op already"):
        scalar.op(*scalar.ops.tanh.rules)(scalar.ops.tanh.forward)
    with pytest.raises(TypeError, match="expected inputs and settings by other names than g and out"):
        scalar.op(lambda g: g)(lambda x, out: x)
    assert "line" not in scalar.ops.OPS and wrong not in scalar.ops.add.rules
    x = Value(2.0)
    assert scalar.grad(x + x, x) == 2.0


def test_a_rule_reads_by_name():
    """Everything there is, in any order; and only as much is asked for."""

    def f(x, y, slope: float):
        return slope * x * y

    def check(g, slope, out, y_shape, x, y):
        assert (g, slope, out, y_shape, x, y) == (1.0, 3.0, 30.0, (), 2.0, 5.0)
        return g * slope * y

    x, y = Value(2.0), Value(5.0)
    out = Op(f, (check, lambda slope, x, g: g * slope * x))(x, y, 3.0)
    assert scalar.grad(out, [x, y]) == [15.0, 6.0]
    wrapped = functools.wraps(check)(lambda *args: -check(*args))
    assert scalar.grad(Op(f, (wrapped, check))(x, y, slope=3.0), x) == -15.0

    def zipped(xs, ys):
        return sum(a * b for a, b in zip(xs, ys, strict=True))

    rules = (lambda g, ys, xs_shape: [g * b for b in ys[: xs_shape[0]]], lambda xs, g: [g * a for a in xs])
    out = Op(zipped, rules, over=True)([x, y], [y, 7.0])
    assert (out.data, scalar.grad(out, [x, y])) == (45.0, [5.0, 9.0])


def test_only_what_is_not_finite_is_asked_of_numpy_again():
    seen = []

    def asked(f, x):
        seen.clear()
        return ieee(lambda x: seen.append(x) or f(x), [x], {}), [type(x) for x in seen]

    once, twice = [float], [float, np.ndarray]
    for f, x, expected, types in [
        (lambda x: x * 2.0, 3.0, 6.0, once),
        (lambda x: [x, x * 2.0], 3.0, [3.0, 6.0], once),
        (lambda x: np.exp(x), 0.0, 1.0, once),
        (lambda x: np.sqrt(x), math.inf, math.inf, once),
        (lambda x: x * 2.0, math.inf, math.inf, twice),
        (lambda x: scalar.leaky_relu(x, -2.0), -math.inf, math.inf, twice),
        (lambda x: [x * 0.5, x * 2.0], math.inf, [math.inf, math.inf], twice),
    ]:
        assert asked(f, x) == (expected, types)
    for f, x in [(lambda x: x * 10.0, 1e308), (lambda x: 1.0 / x, 0.0), (lambda x: [1.0, 1.0 / x], 0.0)]:
        with pytest.warns(RuntimeWarning):
            found, types = asked(f, x)
        assert types == twice and np.ravel(found)[-1] == math.inf
        assert all(type(x) is float for x in (found if isinstance(found, list) else [found]))


def test_no_grad():
    x = Value(2.0)
    with scalar.no_grad():
        out = x * x
        with scalar.no_grad():
            pass
        assert (x * 2.0).op is None
    assert (out.data, out.op, out.inputs, out.requires_grad) == (4.0, None, (), False)
    assert (x * x).op is scalar.ops.multiply

    @scalar.no_grad()
    def f(x):
        return x + 1.0

    assert f(x).op is None and f(x).op is None
    with pytest.raises(KeyError), scalar.no_grad():
        raise KeyError
    assert (x * x).op is not None


def test_no_grad_on_a_function_that_yields():
    x, seen = Value(2.0), []

    @scalar.no_grad()
    def products():
        seen.append((yield x * x).op)
        yield x * 3.0
        return "end"

    steps = products()
    first = next(steps)
    assert first.op is None and (x * x).op is scalar.ops.multiply  # between its values, the caller's mode
    assert steps.send(x * x).op is None and seen == [scalar.ops.multiply]
    with pytest.raises(StopIteration) as caught:
        next(steps)
    assert caught.value.value == "end" and scalar.autodiff.blocks == 0
    silent = scalar.no_grad()
    with silent, silent:
        pass
    assert (x * x).op is not None


def test_no_grad_is_of_one_thread():
    import threading

    found = []
    with scalar.no_grad():
        thread = threading.Thread(target=lambda: found.append((Value(1.0) * 2.0).op))
        thread.start()
        thread.join()
    assert found == [scalar.ops.multiply]


def test_detach_and_constants():
    x = Value(3.0)
    out = x * x.detach()
    out.backward()
    assert x.grad == 3.0
    constant = Value(2.0, requires_grad=False)
    (x * constant).backward()
    assert constant.grad == 0.0
    for made in (-constant, constant.tanh(), abs(constant), scalar.exp(constant), scalar.sum([constant]), constant**2):
        assert (made.op, made.inputs, made.params, made.requires_grad) == (None, (), None, False)
    for made in (-x, x.tanh(), scalar.exp(x), scalar.sum([x]), x + 1.0):
        assert made.params is None and made.requires_grad and all(node in (x, made.inputs[-1]) for node in made.inputs)
    assert x.leaky_relu().params == scalar.leaky_relu(x).params == {"slope": 0.01}


def test_only_needed_gradients_are_computed(monkeypatch):
    called = []
    op = scalar.ops.multiply
    first, second = op.rules
    spied = (first, lambda g, x: called.append(x) or second(g, x))
    monkeypatch.setattr(op, "rules", spied)
    (Value(2.0) * 3.0).backward()
    assert not called
    (2.0 * Value(3.0)).backward()
    assert called


def test_gradients_of_constants_are_not_added_up():
    """Their sum would overflow, with a warning."""
    x, constant = Value(1.0), Value(1.0, requires_grad=False)
    scalar.sum([x, constant, constant]).backward(1e308)
    assert (x.grad, constant.grad) == (1e308, 0.0)


def test_backward_steps_and_order():
    x, y = Value(2.0, "x"), Value(3.0, "y")
    inner = x * y
    out = inner + x
    order = scalar.topological_order(out)
    place = {node: i for i, node in enumerate(order)}
    assert order[-1] is out and len(place) == len(order) == 4
    assert all(place[i] < place[n] for n in order for i in n.inputs)
    steps = list(scalar.backward_steps(out))
    assert steps[0].node is out and steps[0].gradient == 1.0
    assert {s.node.label: s.gradient for s in steps if s.node.label} == {"x": 4.0, "y": 2.0}
    assert x.grad == 0.0  # nothing is changed by looking


def test_pictures_without_viz():
    """A notebook asks for a picture; without viz imported there is none, and no error."""
    import subprocess
    import sys

    code = "import scalar, vector; assert scalar.Value(1)._repr_svg_() is vector.Tensor(1)._repr_svg_() is None"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_repr():
    assert repr(Value(2, "a")) == "Value(data=2.0, grad=0.0, label='a')"


DUPLICATES = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_graph_is_saved_whole(duplicate):
    """Numbers, gradients, labels and settings, as deep as may be; and what a tuple shares stays shared."""
    x, w = Value(2.0, "a"), Value(0.5, requires_grad=False)
    out = scalar.sum([scalar.leaky_relu(x - 3.0, 0.25), scalar.clip(x * w, low=0.0, high=5.0), x.exp() / x, -x])
    out.label = "out"
    out.backward()
    twin, leaf, constant = duplicate((out, x, w))
    order, copied = scalar.topological_order(out), scalar.topological_order(twin)
    assert [repr(node) for node in order] == [repr(node) for node in copied] and not {*order} & {*copied}
    for node, twin_of in zip(order, copied, strict=True):
        assert (node.op, node.params, node.requires_grad) == (twin_of.op, twin_of.params, twin_of.requires_grad)
    assert leaf in copied and constant in copied
    twin.backward()
    assert leaf.grad == 2.0 * x.grad and constant.grad == 0.0
    assert str(scalar.grad(twin, leaf, create_graph=True)) == str(scalar.grad(out, x, create_graph=True))
    leaf.data = 3.0
    with pytest.raises(RuntimeError, match="input 1, 'a', was changed after the forward pass"):
        twin.backward()


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_deep_graph_is_saved(duplicate):
    x = out = Value(1.0)
    for _ in range(20_000):
        out = out + x
    copied = duplicate(out)
    assert copied.data == 20_001.0 and len(scalar.topological_order(copied)) == 20_001


def test_an_op_is_saved_by_its_name():
    assert pickle.loads(pickle.dumps(scalar.tanh)) is copy.deepcopy(scalar.tanh) is scalar.tanh
    model = scalar.nn.Sequential(scalar.nn.Dense(2, 2, "relu"), scalar.tanh)
    assert copy.deepcopy(model).layers[1] is scalar.tanh
    mine = Op(lambda x: x, [lambda g: g])
    with pytest.raises(TypeError, match="expected an op in the table of ops, to be saved by name; declare it by @op"):
        pickle.dumps(mine)


def test_a_gradient_of_none_is_zero():
    """As PyTorch's programs zero it."""
    for run in (lambda x: x * x, lambda x: x, lambda x: x * 1e200 * 1e200 * 0.0):
        x, zero = Value(3.0), Value(3.0)
        x.grad = None
        with np.errstate(all="ignore"):
            run(x).backward()
            run(zero).backward()
        assert same(x.grad, zero.grad).all()
    unused = Value(1.0)
    for kind in (scalar.optim.SGD, scalar.optim.Adam, scalar.optim.Lion):
        unused.grad = None
        kind([unused], 0.1).step()
        assert unused.data == 1.0
    unused.grad = None
    assert scalar.optim.clip_norm([unused], 1.0) == 0.0


def test_arrays_are_no_numbers():
    message = "expected a real number, got ndarray; a Value is one number: take a list of Values, or vector.Tensor"
    for array in (np.ones(2), np.array(2.0), np.array([Value(1.0)])):
        for wrong in (lambda x, a: x * a, lambda x, a: a * x, lambda x, a: a - x, lambda x, a: x < a):
            with pytest.raises(TypeError, match=f"{message}$"):
                wrong(Value(2.0), array)
    with pytest.raises(TypeError, match=r"add: expected a real number, got str$"):
        Value(2.0) + "a"


def test_a_sequence_given_as_inputs():
    with pytest.raises(TypeError, match=r"^sum: expected 1 sequence, as in sum\(\[a, b\]\), got 2$"):
        scalar.sum(Value(1.0), Value(2.0))
    with pytest.raises(TypeError, match=r"^dot: expected 2 inputs, got 1$"):
        scalar.dot([1.0])


@pytest.mark.parametrize("activation", ["tanh", "relu", "softmax", "log_softmax", "leaky_relu", lambda x: x * x, None])
def test_a_network_passes_gradcheck(activation):
    model = scalar.nn.Sequential(scalar.nn.Dense(2, 3, activation, seed=1), scalar.nn.Dense(3, 2, seed=2))
    parameters = model.parameters()
    assert len(parameters) == 2 * 3 + 3 + 3 * 2 + 2
    samples = [[0.5, -0.3], [0.9, 0.2]]
    assert scalar.gradcheck(lambda *_: scalar.cross_entropy([model(x) for x in samples], [0, 1]), parameters)
    assert scalar.gradcheck(lambda *_: scalar.mse([model(x) for x in samples], [[1.0, 0.0]] * 2), parameters)
