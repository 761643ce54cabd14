"""Parts of batches, as several processes take them, together are what one process takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector.data import augment
from vector.datasets import Batches

RNG = np.random.default_rng(0)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 7), st.booleans(), st.booleans())
def test_parts_are_the_rows_of_the_whole_batch(n, batch, parts, weighted, mirrored):
    images, labels = RNG.random((n, 2, 3)), np.arange(n)
    options = {"scale": None, "dtype": np.float64, "seed": 3, "augment": augment.mirror() if mirrored else None}
    options["weights"] = RNG.random(n) if weighted else None
    shared = [Batches(images, labels, batch, part=(i, parts), **options) for i in range(parts)]
    for k, (whole, *others) in enumerate(zip(Batches(images, labels, batch, **options), *shared, strict=True)):
        rows = shared[0].rows(k)
        own = [part.own(rows) for part in shared]
        sizes = [x.stop - x.start for x in own]
        assert rows == len(whole[0]) == sum(sizes) and max(sizes) - min(sizes) <= 1
        for i in (0, 1):
            kept = [other[i] for other, size in zip(others, sizes, strict=True) if size]
            assert np.array_equal(np.concatenate(kept), whole[i])
        assert all(len(other[0]) == max(1, size) for other, size in zip(others, sizes, strict=True))
        counts = [other[2] for other in others]
        assert all(np.all(c == 0) for c, size in zip(counts, sizes, strict=True) if not size)
        assert sum(c.sum() for c in counts) == pytest.approx(1.0, rel=1e-14)
        if weighted:
            kept = [c for c, size in zip(counts, sizes, strict=True) if size]
            assert np.concatenate(kept) == pytest.approx(whole[2] / whole[2].sum(), rel=1e-14)
        else:
            assert [c.shape for c in counts] == [()] * parts
            assert [float(c) for c in counts] == [size / rows for size in sizes]


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_that_there_is_not(part):
    with pytest.raises(ValueError, match="expected part="):
        Batches(np.zeros((4, 2)), np.zeros(4, int), 2, part=part)
