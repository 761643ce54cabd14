"""No gradient is cut, or goes to the wrong place, without a word."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import scalar
import vector
from vector import Tensor
from vector.op import Op, op

CUBE = np.arange(8.0).reshape(2, 2, 2)


def test_axes_that_count_from_the_end():
    x = Tensor(CUBE)
    vector.sum(vector.transpose(x, (0, -1, -2)) * CUBE).backward()
    assert x.grad.ravel().tolist() == [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]


@pytest.mark.parametrize("axes", [(-3, 1, -1), (-1, 0, 1), (1, -1, 0), (2, 0, 1), (-2, -1, -3)])
def test_a_transpose_is_undone(axes):
    x = Tensor(np.arange(24.0).reshape(2, 3, 4))
    y = vector.transpose(x, axes)
    (y * y).sum().backward()
    assert_array_equal(x.grad, 2.0 * x.data)


@pytest.mark.parametrize(
    "shape, text",
    [
        ((3, 2), r"shape \(2, 3\) for input 0, or of a shape that it broadcasts to, got \(3, 2\)"),
        ((3,), r"shape \(2, 3\) for input 0, or of a shape that it broadcasts to, got \(3,\)"),
        ((6,), r".* got \(6,\)"),
        ((4, 2, 1), r".* got \(4, 2, 1\)"),
    ],
)
def test_a_gradient_that_does_not_broadcast_back(monkeypatch, shape, text):
    def wrong(x):
        return x * 1.0

    bad = Op(wrong, [lambda g: np.zeros(shape)])
    with pytest.raises(ValueError, match=f"backward: wrong: expected a gradient of {text}"):
        bad(Tensor(np.ones((2, 3)))).backward(np.ones((2, 3)))


def test_a_rule_that_reads_what_is_not_there():
    table = dict(vector.ops.OPS)
    with pytest.raises(TypeError, match="mine: expected a rule that reads some of g, out, x, x_shape, slope, got y"):

        @op(lambda g, y: g)
        def mine(x, slope=1.0):
            return x

    assert table == vector.ops.OPS


# --- lists of tensors -------------------------------------------------------------------------------------------------


def follow(f):
    """The gradients of a and b through f, on tensors of the shape that f wants them in."""
    a, b = Tensor(2.0, "a"), Tensor(3.0, "b")
    out = f(a, b)
    (vector.sum(out) if out.ndim else out).backward()
    return float(a.grad), float(b.grad)


@pytest.mark.parametrize(
    "f, expected",
    [
        (lambda a, b: vector.mean([a, b]), (0.5, 0.5)),
        (lambda a, b: vector.sum([a, [b]][0] * 2.0), (2.0, 0.0)),
        (lambda a, b: vector.sum([a, b, 4.0]), (1.0, 1.0)),
        (lambda a, b: vector.max((a, b)), (0.0, 1.0)),
        (lambda a, b: vector.sum([[a, b], [b, a]]), (2.0, 2.0)),
        (lambda a, b: vector.multiply([a, b], np.array([5.0, 7.0])), (5.0, 7.0)),
        (lambda a, b: np.array([5.0, 7.0]) * vector.tanh([0.0 * a, 0.0 * b]), (0.0, 0.0)),
        (lambda a, b: a * [b, 1.0], (4.0, 2.0)),
        (lambda a, b: [b, 1.0] * a, (4.0, 2.0)),
        (lambda a, b: vector.dot([a, b], [b, a]), (6.0, 4.0)),
        (lambda a, b: vector.matmul([[a, b]], np.array([[1.0], [2.0]])), (1.0, 2.0)),
        (lambda a, b: vector.mse([a, b], [0.0, 0.0]), (2.0, 3.0)),
        (lambda a, b: vector.concatenate([[a, b], [b]]), (1.0, 2.0)),
        (lambda a, b: vector.where(np.array([True, False]), [a, b], [b, a]), (2.0, 0.0)),
        (lambda a, b: vector.power([a, b], 2.0), (4.0, 6.0)),
    ],
)
def test_lists_of_tensors_are_followed(f, expected):
    assert follow(f) == expected


def test_the_same_with_values():
    a, b = scalar.Value(2.0), scalar.Value(3.0)
    scalar.mean([a, b]).backward()
    assert (a.grad, b.grad) == (0.5, 0.5)


def test_a_list_takes_the_tensors_dtype():
    a = Tensor(np.float32(2.0))
    assert vector.sum([a, 1.0]).dtype == (a * [a, 1.0]).dtype == np.float32


def test_ragged_lists_of_tensors():
    a = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="sum: expected rows of one length, got different ones"):
        vector.sum([a, a[0]])


def test_a_tensor_of_tensors_would_be_cut_off():
    with pytest.raises(TypeError, match=r"expected numbers, got tensors in a list; join them by vector.stack, or give"):
        Tensor([Tensor(1.0), 2.0])


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: np.asarray(t),
        lambda t: np.array([t, t]),
        lambda t: np.ones(2).dot(t),
        lambda t: np.r_[t],
        lambda t: np.ones((2, 2)).__setitem__(0, t),
        lambda t: np.full(2, t),
        lambda t: np.asarray([[t]]),
    ],
)
def test_numpy_asks_for_a_plain_array_inside_a_graph(ask):
    t = Tensor([1.0, 2.0])
    for node in (t, t * 2.0):
        with pytest.raises(TypeError, match=r"\.data|detach\(\)"):
            ask(node)
    ask(t.detach())
    with vector.no_grad():
        ask(t * 2.0)


# --- what an op was told ----------------------------------------------------------------------------------------------


def test_keys_are_kept_as_they_were():
    x, at = Tensor(np.arange(3.0)), np.zeros(1, int)
    total = 0.0
    for k in range(3):
        at[0] = k
        total = total + vector.sum(x[at] * (k + 1.0))
    total.backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_keys_in_tuples_and_lists_are_kept():
    x, at, rows = Tensor(np.arange(6.0).reshape(2, 3)), np.zeros(2, int), [0, 1]
    y = vector.sum(x[rows, at] * np.array([1.0, 2.0]))
    at[:], rows[:] = 2, [1, 1]
    y.backward()
    assert x.grad.tolist() == [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]


def test_conditions_and_indices_are_kept():
    x, chosen, at = Tensor([1.0, 2.0]), np.array([True, False]), np.array([1, 1])
    y = vector.sum(vector.where(chosen, x, 0.0)) + vector.sum(vector.take(x, at) * 3.0)
    chosen[:], at[:] = False, 0
    y.backward()
    assert x.grad.tolist() == [1.0, 6.0]


def test_labels_are_kept():
    logits, labels = Tensor(np.zeros((2, 2))), np.array([0, 1])
    loss = vector.cross_entropy(logits, labels)
    labels[:] = 0
    loss.backward()
    assert_array_equal(logits.grad, [[-0.25, 0.25], [0.25, -0.25]])
