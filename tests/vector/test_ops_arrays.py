"""What the samples of the ops do not tell: singular matrices, equal eigenvalues, ties, dtypes, slices, mistakes."""

import numpy as np
import pytest
from array_samples import minors

import vector
from vector import Tensor

RANK_1 = np.outer([1.0, 2.0, 3.0], [1.0, 0.5, -1.0])


@pytest.mark.parametrize(
    "x", [RANK_1, RANK_1 + np.diag([0.0, 0.0, 1.0]), np.zeros((2, 2)), np.ones((2, 2, 2))], ids=str
)
def test_a_singular_determinant_has_its_cofactors_for_gradient(x):
    x = Tensor(x)
    vector.sum(vector.det(x)).backward()
    np.testing.assert_allclose(x.grad, minors(x.data), atol=1e-14)


def test_what_depends_on_all_equal_eigenvalues_alike_has_a_gradient():
    x = Tensor(np.eye(3) * 2.0)
    vector.sum(vector.eigh(x).eigenvalues ** 3).backward()
    np.testing.assert_allclose(x.grad, 12.0 * np.eye(3), atol=1e-13)
    x = Tensor(np.eye(3, 2) * 2.0)
    vector.sum(vector.svd(x).S ** 2).backward()
    np.testing.assert_allclose(x.grad, 2.0 * x.data, atol=1e-13)


def test_no_spread_no_slope():
    for f in (vector.std, vector.norm, lambda x: vector.norm(x, 3.0)):
        x = Tensor(np.full(3, 0.5) if f is vector.std else np.zeros(3))
        f(x).backward()
        assert x.grad.tolist() == [0.0] * 3


def test_several_largest_of_a_window_share_its_gradient():
    x = Tensor([[[[1.0], [1.0]], [[0.0], [1.0]]], [[[2.0], [np.nan]], [[0.0], [3.0]]]])
    out = vector.max_pool(x, 2)
    assert np.array_equal(out.data.ravel(), [1.0, np.nan], equal_nan=True)
    vector.sum(out).backward()
    assert x.grad[0].ravel().tolist() == [1 / 3, 1 / 3, 0.0, 1 / 3] and np.isnan(x.grad[1]).all()


def test_order_and_ties():
    values, places = vector.topk(Tensor([1.0, 3.0, 2.0, 3.0]), 3)
    assert values.data.tolist() == [3.0, 3.0, 2.0] and places.tolist() == [1, 3, 2]
    assert vector.argsort(Tensor([2.0, 1.0, 2.0])).tolist() == [1, 0, 2]
    assert vector.argmax([1, 3, 3]) == 1 and vector.argmin(Tensor([[2.0, 0.0]]), axis=1).tolist() == [1]
    assert type(vector.sort(np.array([2, 1]))) is np.ndarray


CALLS = {
    "conv2d": lambda x, w: vector.conv2d(x.reshape(1, 3, 3, 1), w.reshape(3, 3, 1, 1), padding=1),
    "conv_transpose2d": lambda x, w: vector.conv_transpose2d(x.reshape(1, 3, 3, 1), w.reshape(3, 3, 1, 1), stride=2),
    "einsum": lambda x, w: vector.einsum("ij,jk,kk", x, w, x),
    "kron": vector.kron,
    "max_pool": lambda x, w: vector.max_pool((x * w).reshape(1, 3, 3, 1), 2, 1, 1),
    "avg_pool": lambda x, w: vector.avg_pool((x * w).reshape(1, 3, 3, 1), 2, 1, 1),
    "solve": lambda x, w: vector.solve(x + 9.0 * np.eye(3, dtype=np.float32), w),
    "svd": lambda x, w: vector.concatenate(vector.svd(x @ w), None),
    "cumprod": lambda x, w: vector.cumprod(x, 0) * vector.prod(w) * vector.std(x),
    "upsample": lambda x, w: vector.upsample((x * w).reshape(1, 3, 3, 1), 2, "bilinear"),
    "pad": lambda x, w: vector.pad(vector.tile(x, 2), 1, "reflect") * vector.norm(w),
}


@pytest.mark.parametrize("name", CALLS)
def test_float32_stays(name):
    rng = np.random.default_rng(0)
    x, w = (Tensor(rng.normal(size=(3, 3)).astype(np.float32)) for _ in "xw")
    out = CALLS[name](x, w)
    assert out.dtype == np.float32
    slopes = vector.grad(vector.sum(out), [x, w], create_graph=True)
    assert {s.dtype for s in slopes} == {np.dtype(np.float32)}
    double = CALLS[name](x.astype(np.float64), w.astype(np.float64)) if name != "solve" else out
    np.testing.assert_allclose(out.data, double.data, rtol=1e-3, atol=1e-4)


def test_only_arrays_of_integers_may_name_an_element_twice():
    """All other keys are written in one go: element by element it takes twenty times as long."""
    mask = np.array([True, False])
    for key in (1, slice(2), ..., None, (0, slice(1), None, ...), mask, [True, False], (mask, 0), np.int64(1), ()):
        assert not vector.ops.may_repeat(key)
    for key in ([0, 0], np.array([1]), (slice(None), [0, 1]), ((0, 0), (1, 1)), np.zeros((2, 1), np.uint8)):
        assert vector.ops.may_repeat(key)


IMAGE, KERNEL = Tensor(np.ones((1, 3, 3, 2))), Tensor(np.ones((2, 2, 2, 4)))
MISTAKES = {
    "conv2d: expected channels that agree": lambda: vector.conv2d(IMAGE, KERNEL[:, :, :1]),
    "in 2 groups": lambda: vector.conv2d(IMAGE, KERNEL, groups=2),
    "conv2d: expected (n, h, w, c) and (kh, kw, c, o)": lambda: vector.conv2d(IMAGE[0], KERNEL),
    "conv2d: expected a kernel within the image": lambda: vector.conv2d(IMAGE, KERNEL, dilation=3),
    'conv2d: expected stride 1 with padding "same"': lambda: vector.conv2d(IMAGE, KERNEL, stride=2, padding="same"),
    "conv2d, stride: expected a whole number from 1": lambda: vector.conv2d(IMAGE, KERNEL, stride=0),
    "conv1d: expected (n, l, c) and (k, c, o)": lambda: vector.conv1d(IMAGE, KERNEL),
    "output_padding below the stride": lambda: vector.conv_transpose2d(
        IMAGE[..., :1], KERNEL[..., :1], output_padding=1
    ),
    "max_pool: expected a kernel within the image": lambda: vector.max_pool(IMAGE, 4),
    "max_pool: expected padding of at most half": lambda: vector.max_pool(IMAGE, 2, padding=2),
    "avg_pool: expected (n, h, w, c) or (n, l, c)": lambda: vector.avg_pool(IMAGE[0, 0], 1),
    "fold: expected (2, 2) parts": lambda: vector.fold(vector.unfold(IMAGE, 1), (2, 2)),
    "upsample: expected mode": lambda: vector.upsample(IMAGE, 2, "cubic"),
    "einsum: expected 2 operands": lambda: vector.einsum("ij,jk", IMAGE[0, 0]),
    "einsum: expected an operand of 2 axes": lambda: vector.einsum("ij", IMAGE),
    "einsum: expected axes of one length for 'i'": lambda: vector.einsum("i,i", IMAGE[0, 0, 0], IMAGE[0, 0, :, 0]),
    "einsum: expected each letter of the result once": lambda: vector.einsum("ij->ii", IMAGE[0, 0]),
    "tensordot: expected axes (1,) and (0,) of one length": lambda: vector.tensordot(IMAGE[0, 0], IMAGE[0, 0], 1),
    "topk: expected k from 0 to 2, got 3": lambda: vector.topk(IMAGE, 3),
    "var: expected more than 2 elements": lambda: vector.var(IMAGE, -1, ddof=2),
    "pad: expected mode": lambda: vector.pad(IMAGE, 1, "mean"),
    "pad: expected whole numbers of elements": lambda: vector.pad(IMAGE, -1),
    "split: expected a number of parts that divides 3": lambda: vector.split(IMAGE, 2, 1),
    "diag: expected a vector or a matrix": lambda: vector.diag(IMAGE),
    "moveaxis: expected as many places as axes": lambda: vector.moveaxis(IMAGE, (0, 1), 0),
    "take_along_axis: expected indices of 4 axes": lambda: vector.take_along_axis(IMAGE, [0]),
    "norm: expected a norm of vectors or matrices": lambda: vector.norm(IMAGE, 2),
    "Singular matrix": lambda: vector.inv(np.zeros((2, 2))),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_named(words):
    with pytest.raises(ValueError) as caught:
        MISTAKES[words]()
    assert words in str(caught.value)


def test_what_numpys_functions_do_not_take_with_tensors_is_named():
    x = Tensor(np.ones((2, 3)))
    for call, words in [
        (lambda: np.ravel(x, order="F"), "np.ravel: expected no order= with tensors"),
        (lambda: np.var(x, mean=0.0), "np.var: expected no mean= with tensors"),
        (lambda: np.linalg.cholesky(x[:, :2], upper=True), "np.linalg.cholesky: expected no upper= with tensors"),
        (lambda: np.linalg.svd(x), "np.linalg.svd: expected full_matrices=False"),
        (lambda: np.linalg.qr(x, mode="complete"), "np.linalg.qr: expected mode reduced or r"),
        (lambda: np.einsum(x, [0, 1]), "np.einsum: expected subscripts as text"),
        (lambda: np.std(x, ddof=Tensor(1.0)), "np.std: expected a plain value for ddof, got a tensor"),
        (lambda: np.linalg.norm(x[0], 0), "norm: expected a norm that has a derivative, got 0"),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        assert words in str(caught.value)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_an_infinite_gradient_of_a_pool_goes_to_the_largest_alone(wrong):
    x = vector.Tensor(np.array([[1.0, 4.0, 3.0, 2.0], [0.0, 2.0, 1.0, 0.0]]).reshape(1, 2, 4, 1))
    slope = vector.grad(vector.max_pool(x, 2), x, gradient=np.array([wrong, 1.0]).reshape(1, 1, 2, 1))
    expected = np.zeros((2, 4))
    expected[0, 1], expected[0, 2] = wrong, 1.0
    assert np.array_equal(slope[0, :, :, 0], expected, equal_nan=True)
