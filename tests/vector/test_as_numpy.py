"""What stands for a function of numpy takes numpy's arguments and defaults, or says which it does not."""

import copy
import operator
import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import scalar
import vector
from vector import Tensor, nn, optim
from vector.op import Op, op

GRID = np.arange(6.0).reshape(2, 3)
REDUCTIONS = ["sum", "mean", "max", "min", "logsumexp", "softmax", "log_softmax"]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_an_array_without_axes_is_reduced_as_numpy_does(name, axis):
    x = Tensor(3.0)
    out = getattr(vector, name)(x, axis=axis)
    out.backward()
    expected = {"softmax": (1.0, 0.0), "log_softmax": (0.0, 0.0)}.get(name, (3.0, 1.0))
    assert (out.item(), float(x.grad)) == expected


@pytest.mark.parametrize("name", REDUCTIONS)
def test_other_axes_of_an_array_without_axes(name):
    with pytest.raises(np.exceptions.AxisError):
        getattr(vector, name)(Tensor(3.0), axis=1)


@pytest.mark.parametrize("join", [vector.concatenate, np.concatenate])
def test_concatenate_without_an_axis(join):
    a, b = Tensor(np.ones((2, 2))), Tensor(np.ones(3))
    out = join([a, b], axis=None)
    vector.sum(out * np.arange(7.0)).backward()
    assert out.shape == (7,)
    assert a.grad.tolist() == [[0.0, 1.0], [2.0, 3.0]] and b.grad.tolist() == [4.0, 5.0, 6.0]


CALLS = [
    lambda t: np.take(t, [1, 0, 1]),
    lambda t: np.take(t, [1, 0], axis=0),
    lambda t: np.take(t, [[0, 2]], 1),
    lambda t: np.clip(t, None, 3),
    lambda t: np.clip(t, 1.5, None),
    lambda t: np.clip(t, a_min=1, a_max=2.5),
    lambda t: np.clip(t, min=1, max=2.5),
    lambda t: np.sum(t, 0),
    lambda t: np.sum(t, axis=(0, 1), keepdims=True),
    lambda t: np.mean(t, axis=-1),
    lambda t: np.max(t, axis=1),
    lambda t: np.min(t),
    lambda t: np.dot(t, np.ones((3, 2))),
    lambda t: np.dot(np.ones((4, 2)), t),
    lambda t: np.dot(t, np.ones(3)),
    lambda t: np.dot(t, 3.0),
    lambda t: np.reshape(t, -1),
    lambda t: np.reshape(t, [3, 2]),
    lambda t: np.transpose(t),
    lambda t: np.transpose(t, (1, 0)),
    lambda t: np.broadcast_to(t, (2, 2, 3)),
    lambda t: np.stack([t, t], axis=1),
    lambda t: np.where(GRID > 2, t, 0.0),
    lambda t: np.transpose(np.take(t, [3, 1]), 0),
    lambda t: np.take(np.take(t, 1), [0, 0], axis=-1),
]


@pytest.mark.parametrize("call", CALLS)
def test_numpys_arguments(call):
    t = Tensor(GRID + 0.25)  # away from bounds
    out = call(t)
    assert_array_equal(out.data, call(GRID + 0.25))
    vector.gradcheck(call, [t])


REFUSED = {
    "where": lambda t: np.sum(t, where=GRID > 1),
    "where, None being false": lambda t: np.sum(t, where=None),
    "dtype": lambda t: np.sum(t, dtype=np.float32),
    "initial": lambda t: np.max(t, initial=3.0),
    "out": lambda t: np.mean(t, out=np.zeros(())),
    "mode": lambda t: np.take(t, [7], mode="clip"),
    "order": lambda t: np.reshape(t, (3, 2), order="F"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_tensors_do_not_take(name):
    argument = name.partition(",")[0]
    with pytest.raises(
        TypeError, match=rf"np\.\w+: expected no {argument}= with tensors; use an op of vector, or \.data"
    ):
        REFUSED[name](Tensor(GRID))


PLAIN = [
    lambda t: np.isnan(t),
    lambda t: np.isfinite(t),
    lambda t: np.signbit(t),
    lambda t: np.argmax(t, axis=1),
    lambda t: np.argsort(t),
    lambda t: np.nonzero(t),
    lambda t: np.any(t, axis=0),
    lambda t: np.allclose(t, GRID),
    lambda t: np.array_equal(t, GRID),
    lambda t: np.size(t, (0, 1)),
    lambda t: 3.0 in t,
    lambda t: 7.0 in t,
]


@pytest.mark.parametrize("call", PLAIN)
def test_what_moves_in_jumps_is_plain(call):
    found, expected = call(Tensor(GRID)), call(GRID)
    assert type(found) is type(expected)
    assert_array_equal(found, expected)


WAYS = {
    "np.add: expected no out= with tensors; use an op of vector, or .data": lambda t: operator.iadd(GRID.copy(), t),
    "np.less: expected no out= with tensors": lambda t: np.less(t, 1.0, out=np.zeros((2, 3), bool)),
    "use vector.maximum and vector.minimum": lambda t: np.clip(t, GRID, 9.0),
    "expected numbers as bounds": lambda t: np.clip(GRID, 0.0, Tensor(1.0)),
    "np.clip: expected a lower or an upper bound with tensors, got none; use .data": lambda t: np.clip(t),
    "np.broadcast_to: expected no subok= with tensors": lambda t: np.broadcast_to(t, (2, 2, 3), subok=True),
    "take: expected integer indices, got bool; use x[mask]": lambda t: np.take(t[0], [True, False, True]),
    "take: expected integer indices, got float64": lambda t: vector.take(t, [0.5]),
    "choose by vector.where, or assign to elements of .data": lambda t: operator.setitem(t, 0, 1.0),
    "where: expected a bool condition such as x > 0, got type": lambda t: vector.where(np.float64, t, t),
}


@pytest.mark.parametrize("words", WAYS)
def test_an_error_names_the_way(words):
    with pytest.raises(TypeError, match=re.escape(words)):
        WAYS[words](Tensor(GRID))


def test_a_tensor_without_axes_is_a_number():
    t = Tensor(2.75)
    assert (float(t), int(t)) == (2.75, 2)


def test_methods_take_numbers_one_by_one_or_as_a_list():
    t = Tensor(np.arange(24.0).reshape(2, 3, 4))
    for out in (t.transpose(0, 2, 1), t.transpose((0, 2, 1)), t.transpose([0, 2, 1])):
        assert_array_equal(out.data, t.data.transpose(0, 2, 1))
    assert t.transpose().shape == t.transpose(None).shape == (4, 3, 2)
    assert t.reshape([6, -1]).shape == t.reshape((6, -1)).shape == t.reshape(6, -1).shape == (6, 4)


# --- numbers and lists take the tensor's dtype ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t / np.sqrt(64),
        lambda t: t * np.mean([1.0, 2.0]),
        lambda t: t * [1.0, 2.0, 3.0],
        lambda t: [1.0, 2.0, 3.0] * t,
        lambda t: t * np.arange(3),
        lambda t: np.arange(3) - t,
        lambda t: np.float64(2.0) * t,
        lambda t: t @ [1.0, 2.0, 3.0],
        lambda t: vector.dot(t, [1.0, 2.0, 3.0]),
        lambda t: vector.mse(t, [1.0, 2.0, 3.0]),
        lambda t: vector.maximum(t, np.float64(0.1)),
        lambda t: vector.where(t.data > 0, t, np.float64(0.1)),
    ],
)
def test_float32_stays(f):
    w, x = Tensor(np.ones(3, np.float32), "w"), np.array([1.0, 2.0, 4.0], np.float32)
    out = f(w * x)
    vector.sum(out).backward()
    assert out.dtype == w.grad.dtype == np.float32


def test_arrays_and_tensors_of_float64_decide():
    w = Tensor(np.ones(3, np.float32))
    assert (w * np.ones(3)).dtype == (w * Tensor(2.0)).dtype == np.float64


@pytest.mark.compiler
def test_a_number_of_a_recording_counts_as_in_the_step():
    """np.mean gives a single number, whose dtype does not count; an array of no axes counts."""

    def step(x, y):
        return w * np.mean(y) + vector.sum(w * y.sum())

    w = Tensor(np.ones(3, np.float32))
    x, y = np.ones(3, np.float32), np.array([0.1, 0.2, 0.4])
    expected, recorded = step(x, y), vector.compile(step)
    for _ in range(3):
        assert recorded(x, y).dtype == expected.dtype == np.float32
        assert_array_equal(recorded(x, y).data, expected.data)


# --- saving and copying -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_models_and_optimizers_are_copied(again):
    model = nn.Sequential(nn.Dense(3, 4, "relu", seed=0), nn.Dropout(0.5, seed=1), nn.Dense(4, 2, "softmax", seed=1))
    update = optim.Adam(model.parameters(), 0.1)
    other, twin = again((model, update))
    x, y = np.ones((2, 3)), [0, 1]
    assert all(p is q for p, q in zip(other.parameters(), twin.parameters, strict=True))
    assert not any(
        np.shares_memory(p.data, q.data) for p, q in zip(model.parameters(), other.parameters(), strict=True)
    )
    for net, step in ((model, update), (other, twin)):
        for _ in range(3):
            step.zero_grad()
            vector.cross_entropy(net(x), y).backward()
            step.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_graph_of_any_depth_is_copied(again):
    x = y = Tensor(1.0, "x")
    for _ in range(20_000):
        y = y * 1.0001
    leaf, out = again([x, y])
    out.backward()
    y.backward()
    assert out.item() == y.item() and leaf.label == "x" and leaf.grad == x.grad and leaf is not x


def test_a_graph_that_was_changed_is_not_saved():
    x = Tensor(np.ones(3))
    y = vector.sum(x * x)
    x.data[0] = 2.0
    with pytest.raises(RuntimeError, match="pickle: multiply: an array was changed after the forward pass"):
        pickle.dumps(y)


def test_ops_are_saved_by_name():
    assert pickle.loads(pickle.dumps(vector.tanh)) is copy.deepcopy(vector.tanh) is vector.tanh
    with pytest.raises(TypeError, match="mine: expected an op in the table of ops"):
        pickle.dumps(Op(lambda x: x, [lambda g: g]).__class__(named_mine, [lambda g: g]))


def named_mine(x):
    return x


named_mine.__name__ = "mine"


# --- modes and messages -----------------------------------------------------------------------------------------------


def test_no_grad_on_a_generator():
    @vector.no_grad()
    def steps(x):
        got = yield x * 1.0
        yield x * got

    x = Tensor(2.0)
    numbers = steps(x)
    first = next(numbers)
    between = x * x
    second = numbers.send(3.0)
    assert not first.requires_grad and not second.requires_grad and second.item() == 6.0
    assert between.requires_grad and (x * x).requires_grad
    assert [*numbers] == []


def test_no_grad_on_a_function_and_within_itself():
    x, silent = Tensor(2.0), vector.no_grad()

    @silent
    def twice(y):
        with silent:
            return y * 2.0

    assert not twice(x).requires_grad and (x * 1.0).requires_grad


def test_backward_of_a_constant_says_so():
    with vector.no_grad():
        y = Tensor(2.0) * 3.0
    for constant in (y, Tensor(2.0, requires_grad=False) * 2.0):
        with pytest.raises(RuntimeError, match="backward: expected the result of ops on nodes that require a gradient"):
            constant.backward()


def test_grad_takes_a_gradient():
    x = Tensor(GRID)
    assert_array_equal(vector.grad(x * x, x, gradient=GRID), 2.0 * GRID * GRID)
    with pytest.raises(ValueError, match=r"got shape \(2, 3\); reduce it \(sum, mean\) or pass gradient="):
        vector.grad(x * x, x)
    v = scalar.Value(3.0)
    assert scalar.grad(v * v, v, gradient=0.5) == 3.0


def test_gradcheck_wants_a_list():
    with pytest.raises(TypeError, match="gradcheck: expected a list of the inputs of f, got float"):
        vector.gradcheck(lambda x: x, 1.0, 2.0)


def test_a_built_in_op_is_not_replaced():
    relu = vector.relu
    with pytest.raises(ValueError, match="op: expected a new name, got relu, which is an op already"):

        @op(lambda g: g)
        def relu(x):
            return x

    assert vector.ops.OPS["relu"] is vector.relu and relu is vector.relu


class Foreign:
    """A tensor of another library."""

    __module__ = "elsewhere.tensors"
    dtype = "elsewhere.float32"
    shape = (3,)


@pytest.mark.parametrize(
    "use", [lambda x: Tensor(x), lambda x: Tensor(1.0) * x, lambda x: vector.matmul(np.ones(3), x)]
)
def test_a_tensor_of_another_library(use):
    with pytest.raises(TypeError, match="expected a numpy array or a number, got a elsewhere"):
        use(Foreign())


def test_numpy_gets_a_copy():
    t = Tensor([1.0, 2.0], requires_grad=False)
    np.asarray(t)[0] = 9.0
    assert t.data.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="its own array is"):
        np.asarray(t, copy=False)
