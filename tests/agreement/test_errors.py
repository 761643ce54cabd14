"""One mistake, one message: both engines raise the same exception with the same words."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from judging import elementwise, params_of, sequence_ops
from mistakes import alike

import scalar
import vector

BAD_INPUTS = {"bool": True, "complex": 1j, "str": "3", "NoneType": None, "object": object(), "dict": {}}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_node_of_no_number(name):
    alike(lambda E, N, A: N(BAD_INPUTS[name]), TypeError, "Value: expected a real number", f"got {name}")


@pytest.mark.parametrize("bad", [np.bool_(True), np.complex128(1j), np.str_("3")])
def test_a_node_of_no_number_of_numpy(bad):
    for node in (scalar.Value, vector.Tensor):
        with pytest.raises(TypeError, match=f"expected a real number, got {type(bad).__name__.rstrip('_')}"):
            node(bad)


def test_numbers_that_are_not_floats():
    for x in (3, np.float32(0.5), Fraction(1, 2), np.int8(-1)):
        assert scalar.Value(x).item() == vector.Tensor(x).item() == float(x)


@pytest.mark.parametrize("bad", BAD_INPUTS)
@pytest.mark.parametrize("name", elementwise())
def test_every_op_names_itself_and_what_came(name, bad):
    op = scalar.ops.OPS[name]
    params = params_of(op)[0]
    for at in range(len(op.rules)):

        def mistake(E, N, A, at=at):
            inputs = [N(0.5)] * len(op.rules)
            inputs[at] = BAD_INPUTS[bad]
            E.ops.OPS[name](*inputs, **params)

        if len(op.rules) > 1:
            alike(mistake, TypeError, f"{name}: expected a real number", f"got {bad}")
        alike(
            lambda E, N, A: E.ops.OPS[name](*[BAD_INPUTS[bad]] * len(op.rules), **params),
            TypeError,
            f"{name}: expected a real number",
            f"got {bad}",
        )


OPERATIONS = {
    "add": [lambda a, b: a + b, lambda a, b: b + a],
    "subtract": [lambda a, b: a - b, lambda a, b: b - a],
    "multiply": [lambda a, b: a * b, lambda a, b: b * a],
    "divide": [lambda a, b: a / b, lambda a, b: b / a],
    "power": [lambda a, b: a**b, lambda a, b: b**a],
    "less": [lambda a, b: a < b, lambda a, b: b > a],
    "less_equal": [lambda a, b: a <= b, lambda a, b: b >= a],
    "greater": [lambda a, b: a > b, lambda a, b: b < a],
    "greater_equal": [lambda a, b: a >= b, lambda a, b: b <= a],
}


@pytest.mark.parametrize("bad", BAD_INPUTS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operators(name, bad):
    for operate in OPERATIONS[name]:
        alike(
            lambda E, N, A, f=operate: f(N(2.0), BAD_INPUTS[bad]),
            TypeError,
            f"{name}: expected a real number",
            f"got {bad}",
        )


@pytest.mark.parametrize("name", elementwise())
def test_the_wrong_number_of_inputs(name):
    if name == "where":
        return
    op = scalar.ops.OPS[name]
    given = len(op.rules) + len(op.defaults) + 1
    inputs = "1 input" if len(op.rules) == 1 else f"{len(op.rules)} inputs"
    alike(lambda E, N, A: getattr(E, name)(), TypeError, f"{name}: expected {inputs}, got 0")
    alike(lambda E, N, A: getattr(E, name)(*[N(1.0)] * given), TypeError, f"{name}: expected", f"got {given}")
    arguments = " and ".join(op.defaults)
    params = {**params_of(op)[0], "colour": 1}
    alike(
        lambda E, N, A: getattr(E, name)(*[N(1.0)] * len(op.rules), **params),
        TypeError,
        f"{name}: expected {arguments}, got colour" if arguments else f"{name}() got an unexpected keyword",
    )


MISTAKES = {
    "an argument that is missing": (lambda E, N, A: E.clip(N(1.0), 0.0), TypeError, "clip: expected high"),
    "an argument that is a node": (
        lambda E, N, A: E.clip(N(1.0), N(0.0), 1.0),
        TypeError,
        "clip: expected a plain value for low",
    ),
    "a bound that is no number": (
        lambda E, N, A: E.clip(N(1.0), "a", 1.0),
        TypeError,
        "clip, low: expected a real number",
        "got str",
    ),
    "a slope that is no number": (
        lambda E, N, A: E.leaky_relu(N(-1.0), None),
        TypeError,
        "leaky_relu, slope: expected a real number",
        "got NoneType",
    ),
    "a condition of numbers": (lambda E, N, A: E.where(1, N(1.0), N(2.0)), TypeError, "where", "bool", "int"),
    "a condition that is a node": (lambda E, N, A: E.where(N(1.0), N(1.0), N(2.0)), TypeError, "where", "bool"),
    "dot of two lengths": (lambda E, N, A: E.dot(A([1.0, 2.0]), A([1.0])), ValueError, "dot", "2 and 1"),
    "mean of nothing": (lambda E, N, A: E.mean(A([])), ValueError, "mean: expected at least one element"),
    "max of nothing": (lambda E, N, A: E.max(A([])), ValueError, "max: expected at least one element"),
    "min of nothing": (lambda E, N, A: E.min(A([])), ValueError, "min: expected at least one element"),
    "logsumexp of nothing": (lambda E, N, A: E.logsumexp(A([])), ValueError, "logsumexp: expected at least one"),
    "softmax of nothing": (lambda E, N, A: E.softmax(A([])), ValueError, "softmax: expected at least one element"),
    "log_softmax of nothing": (lambda E, N, A: E.log_softmax(A([])), ValueError, "log_softmax: expected at least one"),
    "grad by no node": (lambda E, N, A: E.grad(N(1.0), [2.0]), TypeError, "grad: expected nodes", "float"),
    "backward from no number": (lambda E, N, A: N(1.0).backward("a"), TypeError, "backward: expected a real", "str"),
    "backward from a constant": (
        lambda E, N, A: (N(1.0, requires_grad=False) * 2.0).backward(),
        RuntimeError,
        "backward: expected the result of ops on nodes that require a gradient, got a constant",
    ),
    "backward from what was made without a graph": (
        lambda E, N, A: E.no_grad()(lambda x: x * x)(N(1.0)).backward(),
        RuntimeError,
        "got a constant: all that it was made of is constant, or it was made inside no_grad()",
    ),
    "nesterov without momentum": (
        lambda E, N, A: E.optim.SGD([N(1.0)], 0.1, nesterov=True),
        ValueError,
        "SGD: expected a momentum above 0",
    ),
    "an unknown activation": (
        lambda E, N, A: E.nn.Dense(2, 2, "gelu2"),
        ValueError,
        "Dense: expected an activation out of",
        "got 'gelu2'",
        "tanh",
    ),
    "an activation of two inputs": (lambda E, N, A: E.nn.Dense(2, 2, "add"), ValueError, "Dense", "got 'add'"),
    "a layer without outputs": (lambda E, N, A: E.nn.Dense(2, 0), ValueError, "Dense", "at least 1", "2 and 0"),
    "a layer's wrong features": (
        lambda E, N, A: E.nn.Dense(3, 2)(A([1.0, 2.0])),
        ValueError,
        "Dense: expected 3 features, got 2",
    ),
    "grad of no node": (lambda E, N, A: E.grad(None, N(1.0)), TypeError, "grad: expected a node", "got NoneType"),
    "gradcheck by numbers": (lambda E, N, A: E.gradcheck(lambda x: N(1.0) * x, [1.0]), TypeError, "gradcheck", "float"),
    "gradcheck by one node": (
        lambda E, N, A: E.gradcheck(lambda x: x * x, N(1.0)),
        TypeError,
        "gradcheck: expected a list of the inputs of f, got Value",
    ),
    "layers in a list": (
        lambda E, N, A: E.nn.Sequential([E.nn.Dense(2, 2)]),
        TypeError,
        "Sequential: expected layers, each an argument of its own, got list",
    ),
    "an activation that is no function": (
        lambda E, N, A: E.nn.Dense(2, 2, 3),
        ValueError,
        "activation out of",
        "got 3",
    ),
    "softmax of words": (
        lambda E, N, A: E.softmax(["a", "b"]),
        TypeError,
        "softmax: expected a real number, got str",
    ),
    "no features": (lambda E, N, A: E.nn.Dense(2, 2)(None), TypeError, "Dense: expected 2 features, got NoneType"),
    "a gradcheck that fails": (
        lambda E, N, A: E.gradcheck(lambda x: x * x + x.detach(), [N(2.0)]),
        ValueError,
        "gradcheck: input 0 = 2.0",
        "gives 4.0",
        "differences give",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    alike(*MISTAKES[mistake])


SETTINGS = {
    "lr": ("SGD", {"lr": -1.0}, ValueError, "SGD: lr: expected a number from 0 to below inf, got -1.0"),
    "lr nan": ("SGD", {"lr": math.nan}, ValueError, "SGD: lr: expected a number from 0 to below inf, got nan"),
    "lr inf": ("AdamW", {"lr": math.inf}, ValueError, "AdamW: lr: expected a number from 0 to below inf, got inf"),
    "lr text": ("Adam", {"lr": "a"}, TypeError, "Adam: lr: expected a real number, got str"),
    "momentum": ("SGD", {"lr": 1, "momentum": -0.1}, ValueError, "SGD: momentum: expected a number from 0", "-0.1"),
    "decay": ("AdamW", {"weight_decay": -0.1}, ValueError, "AdamW: weight_decay: expected a number from 0", "-0.1"),
    "eps": ("Adam", {"eps": -1.0}, ValueError, "Adam: eps: expected a number from 0 to below inf, got -1.0"),
    "one beta": ("Adam", {"betas": 0.9}, ValueError, "Adam: expected two betas, got 0.9"),
    "three betas": ("Adam", {"betas": (0.1, 0.2, 0.3)}, ValueError, "Adam: expected two betas, got (0.1, 0.2, 0.3)"),
    "first beta": ("Adam", {"betas": (1.0, 0.9)}, ValueError, "Adam: betas: expected a number from 0 to below 1.0"),
    "second beta": ("Adam", {"betas": (0.9, 1.0)}, ValueError, "Adam: betas: expected a number from 0 to below 1.0"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_optimizers(name):
    kind, given, *expected = SETTINGS[name]
    alike(lambda E, N, A: getattr(E.optim, kind)([N(1.0)], **given), *expected)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_what_an_optimizer_moves(kind):
    for wrong, got in [(lambda N: N(1.0), "Value"), (lambda N: 1.0, "float"), (lambda N: None, "NoneType")]:
        alike(
            lambda E, N, A, wrong=wrong: getattr(E.optim, kind)(wrong(N), 0.1),
            TypeError,
            f"{kind}: expected a list of parameters, as model.parameters() is, got {got}",
        )
    alike(
        lambda E, N, A: getattr(E.optim, kind)([N(1.0), 2], 0.1),
        TypeError,
        f"{kind}: expected a list of parameters, as model.parameters() is, got one with int in it",
    )


LOGITS = [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]
LABELS = {
    "too few": ([0], ValueError, "(2,) or (2, 3)", "got (1,)"),
    "too many": ([0, 1, 2], ValueError, "got (3,)"),
    "of another width": ([[0.0, 1.0]] * 2, ValueError, "got (2, 2)"),
    "above the range": ([0, 3], ValueError, "class numbers from 0 to 2, got 3"),
    "below the range": ([-1, 0], ValueError, "class numbers from 0 to 2, got -1"),
    "NaN": ([[math.nan, 1.0, 0.0], [0.0, 0.0, 1.0]], ValueError, "got nan"),
    "NaN class numbers": ([math.nan, 1.0], ValueError, "got nan"),
    "float class numbers": ([0.0, 1.0], TypeError, "integer class numbers", "float64"),
    "bools": ([True, False], TypeError, "class numbers or probabilities", "bool"),
    "words": (["cat", "dog"], TypeError, "class numbers or probabilities"),
    "None": ([None, None], TypeError, "class numbers or probabilities", "object"),
    "complex": ([1j, 1j], TypeError, "class numbers or probabilities", "complex128"),
    "ragged": ([[0.0], [1.0, 2.0]], ValueError, "one length"),
}


@pytest.mark.parametrize("loss", ["cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("name", LABELS)
def test_labels(loss, name):
    labels, kind, *words = LABELS[name]
    alike(lambda E, N, A: getattr(E, loss)(A(LOGITS), labels), kind, f"{loss}: expected", *words)
    if name != "ragged":
        alike(lambda E, N, A: getattr(E, loss)(A(LOGITS), np.array(labels)), kind, f"{loss}: expected", *words)


@pytest.mark.parametrize("loss", ["cross_entropy", "categorical_cross_entropy", "mse"])
def test_an_empty_batch(loss):
    alike(lambda E, N, A: getattr(E, loss)(A([]), []), ValueError, f"{loss}: expected at least one sample", "(0,)")


def test_a_single_number_is_no_batch():
    alike(lambda E, N, A: E.cross_entropy(N(1.0), 0), ValueError, "cross_entropy: expected at least one sample", "()")


@pytest.mark.parametrize("targets", [[[1.0, 2.0]], [1.0], [[1.0], [2.0]], 1.0])
def test_mse_shapes(targets):
    shape = str(np.shape(targets))
    alike(lambda E, N, A: E.mse(A([1.0, 2.0]), targets), ValueError, "mse: expected targets of shape (2,)", shape)


@pytest.mark.parametrize("bad", ["a", None, True, 1j])
def test_mse_of_no_numbers(bad):
    alike(lambda E, N, A: E.mse(A([1.0]), [bad]), TypeError, "expected a real number")


def test_a_state_dict_that_does_not_fit():
    def load(change):
        def mistake(E, N, A):
            model = E.nn.Sequential(E.nn.Dense(2, 3, seed=0), E.nn.Dense(3, 1, seed=1))
            before = model.state_dict()
            state = {name: array.copy() for name, array in before.items()}
            change(state)
            try:
                model.load_state_dict(state)
            finally:
                after = model.state_dict()
                assert all(np.array_equal(before[name], after[name]) for name in before), (
                    "a failed load changed numbers"
                )

        return mistake

    def shape(state):
        state["0.weight"] = np.ones((2, 3))  # would be taken over if the next were not wrong
        state["1.weight"] = np.zeros((1, 3))

    def words(state):
        state["0.weight"] = np.ones((2, 3))
        state["1.bias"] = np.array(["a"])

    def bools(state):
        state["1.bias"] = np.array([True])

    alike(load(lambda s: s.pop("0.bias")), ValueError, "load_state_dict: expected the names", "1.weight")
    alike(load(lambda s: s.update(more=1.0)), ValueError, "load_state_dict: expected the names", "more")
    alike(load(shape), ValueError, "load_state_dict: 1.weight: expected shape (3, 1), got (1, 3)")
    alike(load(words), TypeError, "load_state_dict: 1.bias: expected a real number")
    alike(load(bools), TypeError, "load_state_dict: 1.bias: expected a real number, got bool")


# --- only vector has shapes -------------------------------------------------------------------------------------------


def expect(kind, *words):
    return pytest.raises(kind, match="".join(f"(?=.*{re.escape(word)})" for word in words))


@pytest.mark.parametrize("name", [name for name in elementwise() if len(scalar.ops.OPS[name].rules) == 2])
def test_shapes_that_do_not_broadcast(name):
    x, y = vector.Tensor(np.ones((2, 3))), vector.Tensor(np.ones(4))
    params = params_of(vector.ops.OPS[name])[0]
    with expect(ValueError, f"{name}: expected shapes that broadcast together, got (2, 3) and (4,)"):
        vector.ops.OPS[name](x, y, **params)


def test_dot_of_no_vectors():
    for x, y in [((2, 3), (3,)), ((3,), (3, 2)), ((), (3,)), ((3,), ())]:
        with expect(TypeError, f"dot: expected a sequence, got shapes {x} and {y}"):
            vector.dot(vector.Tensor(np.ones(x)), np.ones(y))
    for name in ("dot", "matmul"):
        with expect(TypeError, f"{name}: expected a real number, got str"):
            getattr(vector, name)(["a"], vector.Tensor([1.0]))
        with expect(TypeError, f"{name}: expected a real number, got str"):
            getattr(vector, name)(vector.Tensor([1.0]), ["a"])


def test_other_errors_are_numpys_own():
    with expect(ValueError, "cannot reshape array of size 6 into shape (4,)"):
        vector.reshape(vector.Tensor(np.ones((2, 3))), (4,))
    with expect(ValueError, "could not be broadcast together with remapped shapes"):
        vector.broadcast_to(vector.Tensor(np.ones((2, 3))), (2, 4))
    with expect(ValueError, "must match exactly"):
        vector.concatenate([vector.Tensor(np.ones((2, 3))), vector.Tensor(np.ones((2, 2)))])
    for join in (vector.concatenate, vector.stack):
        with expect(ValueError, "need at least one array to concatenate"):
            join([])
    x = vector.Tensor(np.ones((2, 3)))
    for f in (vector.sum, lambda x, axis: vector.take(x, [0], axis), lambda x, axis: vector.concatenate([x], axis)):
        for axis in (2, -3):
            with expect(np.exceptions.AxisError, f"axis {axis} is out of bounds for array of dimension 2"):
                f(x, axis)
    for axis in (3, -4):
        with expect(np.exceptions.AxisError, f"axis {axis} is out of bounds for array of dimension 3"):
            vector.stack([x], axis)
    with expect(TypeError, "astype: expected float32 or float64, got int64"):
        x.astype(np.int64)


def test_shapes_of_products():
    t = vector.Tensor
    for x, y in [((2, 3), (2, 3)), ((3,), (2,)), ((2, 3), (2,)), ((2,), (3, 2)), ((4, 2, 3), (4, 2, 3))]:
        with expect(ValueError, "matmul: expected inner dimensions that agree", str(x), str(y)):
            t(np.ones(x)) @ t(np.ones(y))
    for x, y in [((), (2,)), ((2,), ()), ((), (2, 3))]:
        with expect(ValueError, "matmul: expected at least one axis on both sides", f"{x} and {y}"):
            t(np.ones(x)) @ t(np.ones(y))
    with expect(ValueError, "matmul", "broadcast", "(2, 2, 3)", "(4, 3, 2)"):
        t(np.ones((2, 2, 3))) @ t(np.ones((4, 3, 2)))
    with expect(ValueError, "Dense: expected 3 features, got 2"):
        vector.nn.Dense(3, 1)(t(np.ones((5, 2))))


def test_backward_from_several_numbers():
    with expect(ValueError, "backward", "one element", "(2, 3)"):
        (vector.Tensor(np.ones((2, 3))) * 2.0).backward()
    with expect(ValueError, "backward", "one element", "(2, 3)"):
        x = vector.Tensor(np.ones((2, 3)))
        vector.grad(x * 2.0, x)
    with expect(ValueError, "backward: expected a gradient of shape (2, 3), got (3,)"):
        (vector.Tensor(np.ones((2, 3))) * 2.0).backward(np.ones(3))


@pytest.mark.parametrize("dtype", ["bool", "complex128", "U1", "object", "float16", "longdouble", "datetime64[s]"])
def test_arrays_of_other_types(dtype):
    data = np.zeros(3, dtype)
    wanted = "float32 or float64" if data.dtype.kind == "f" else "a real number"
    with expect(TypeError, f"Tensor: expected {wanted}, got", data.dtype.name.rstrip("0123456789[s]")):
        vector.Tensor(data)
    with expect(TypeError, "multiply: expected", data.dtype.name.rstrip("0123456789[s]")):
        vector.Tensor(np.ones(3)) * data


def test_numpy_functions_without_a_derivative_here():
    t = vector.Tensor([1.0, 2.0])
    for f in (np.deg2rad, np.median, np.add.reduce, np.linalg.pinv):
        with expect(TypeError, "is not differentiable here", f.__name__ if f is not np.add.reduce else "add.reduce"):
            f(t)
    with expect(ValueError, "item: expected one element", "(2,)"):
        t.item()
    with expect(ValueError, "Tensor.grad: expected shape (2,)", "(3,)"):
        t.grad = np.ones(3)
    with expect(TypeError, "gradcheck: expected float64", "float32"):
        vector.gradcheck(lambda x: vector.sum(x), [vector.Tensor(np.ones(2, np.float32))])


@pytest.mark.parametrize("name", sequence_ops())
def test_sequence_ops_of_no_sequence(name):
    for bad in (3.0, "abc", None):
        with expect(TypeError, f"{name}: expected a sequence", type(bad).__name__):
            getattr(scalar, name)(*[bad] * (2 if name == "dot" else 1))
