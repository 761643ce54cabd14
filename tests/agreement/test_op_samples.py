"""Every op on awkward samples: value against numpy, slopes and second slopes against differences, recordings to the
last bit; the same for arrays that lie in memory in every way."""

import numpy as np
import pytest
from recorded import same
from samples import LAYOUTS, SAMPLES

import vector
from vector import Tensor, ops
from vector.op import OPS


def weights(x):
    return 1.0 + np.cos(np.arange(x.size)).reshape(x.shape) / 2.0


def derivatives(f, nodes):
    """Value, slopes, and the slopes of the slopes, all weighed so that each counts."""
    out = f(*nodes)
    slopes = vector.grad(ops.sum(out * weights(out)), nodes, create_graph=True)
    total = sum([ops.sum(s * weights(s)) for s in slopes], Tensor(0.0))
    return [out, *slopes], vector.grad(total, nodes)


def test_every_op_has_samples():
    missing = {*OPS, *ops.FUNCTIONS} - {sample.op for sample in SAMPLES}
    assert not missing, f"write samples of {', '.join(sorted(missing))}"


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_value_slope_and_second_slope(sample):
    nodes = [Tensor(x.copy()) for x in sample.inputs]
    out, expected = sample.f(*nodes), sample.numpy(*sample.inputs)
    assert out.shape == np.shape(expected) and out.dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(out.data, expected, rtol=1e-13, atol=1e-15)
    plain = sample.f(*[x.copy() for x in sample.inputs])
    assert not isinstance(plain, Tensor) and same(plain, out.data)
    if sample.smooth:
        vector.gradcheck(sample.f, nodes, rtol=1e-6)
        vector.gradcheck(lambda *xs: second(sample.f, xs), nodes, rtol=1e-6)


def second(f, nodes):
    """The weighed sum of the slopes, as a node."""
    out = f(*nodes)
    slopes = vector.grad(ops.sum(out * weights(out)), list(nodes), create_graph=True)
    return sum([ops.sum(s * weights(s)) for s in slopes], Tensor(0.0))


def by_default(*names):
    """All layouts, those that are not named among the slow tests."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]


@pytest.mark.parametrize("layout", by_default("with gaps", "repeated"))
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_layouts(sample, layout):
    """How the numbers lie in memory changes nothing but the order of sums."""
    arrays = [LAYOUTS[layout](x) for x in sample.inputs]
    ends = []
    for given in ([np.array(x, np.float64, order="C") for x in arrays], arrays):
        found, seconds = derivatives(sample.f, [Tensor(x) for x in given])
        ends.append([*(x.data for x in found), *seconds])
    for x, y in zip(*ends, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("layout", by_default("as it is"))
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_recorded(sample, layout):
    def step(*given):
        nodes = [Tensor(x) for x in given]
        found, seconds = derivatives(sample.f, nodes)
        return [*found, *map(Tensor, seconds)]

    recorded = vector.compile(step)
    for scale in (1.0, 0.9, 1.0):
        given = [LAYOUTS[layout](np.asarray(x * scale)) for x in sample.inputs]
        expected = step(*given)
        if not sample.recordable:
            with pytest.raises(vector.RecordingError, match="mask"):
                recorded(*given)
            return
        for x, y in zip(recorded(*given), expected, strict=True):
            assert same(x.data, y.data)
