"""The program as text: it prints, it runs, and its names are Python's."""

import numpy as np
import pytest
from programs import TWO, made_of, record, seed_step, unchanged
from recorded import same

import vector
from vector.runtime import blas, matmul


@pytest.mark.parametrize("n", [1, 32, 128])
def test_the_program_of_a_training_step_is_short(n):
    step, _, _ = seed_step(n, exact=False)
    assert len(step.program) <= 30, step.program
    assert len(seed_step(n, exact=True)[0].program) <= 36


@pytest.mark.parametrize("exact", [True, False])
def test_the_printed_program(exact):
    step, _, _ = seed_step(32, exact)
    text = str(step.program)
    head, *rows, end = text.splitlines()
    assert head == "def train_step(images, labels):" and end.strip().startswith("return (")
    assert [int(row.split()[0]) for row in rows] == list(range(len(rows)))
    for row in rows:
        if "helpers" in row:  # how many share products, and these
            assert ("how many other threads" in row) is not (row.count(" @ ") == 2)
            continue
        shape, dtype = row.rsplit("# ", 1)[1].split()
        assert shape == "scalar" or all(part.isdigit() for part in shape.split("x"))
        np.dtype(dtype)
    for name in ("weight0", "bias0", "weight1", "bias1", "lr", "images", "labels", "one_hot", "out="):
        assert name in text
    assert "32x128 float32" in text and "32x128 bool" in text
    added = not exact and blas.routine("gemm", np.dtype(np.float32)) is not None  # where they are computed
    shared = not exact and matmul.parts_at_once(np.empty((32, 784), np.float32), np.empty((784, 128), np.float32)) > 1
    assert ("out=for_weight0)" in text) is not added
    assert ("subtract_product(weight0" in text) is (added and not shared)
    assert ("subtract_products(helpers, images)" in text) is shared
    assert rows[-1].split("#")[0].rstrip().endswith("out=bias0_to_bias1)" if added else "out=weight0_to_bias1)")


def test_the_source_runs():
    """It is the program: run with the names it is bound to, it does the step."""
    step, batch, model = seed_step(32, exact=True)
    other, _, twin = seed_step(32, exact=True)
    space = dict(step.latest.run.__globals__)
    exec(step.source, space)
    (loss,) = space["train_step"](*batch)
    assert same(loss, other(*batch).data)
    assert all(same(p.data, q.data) for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    assert step.memory == step.program.memory > 32 * 128 * 4


def test_changes_through_an_index_are_not_copied_onto_themselves():
    def step(p, q, x):
        p.data[...] -= x * 2.0
        p.data[1:] *= 0.5
        q.data[1:] = q.data[:-1]
        q.data[:2] = p.data[:2]

    make = made_of(step, *TWO)
    assert unchanged(make, [[np.arange(3.0) + i] for i in range(3)]) == 0
    made = record(make()[0], np.arange(3.0))
    assert [call.function for call in made.calls] == [np.multiply, np.subtract, np.multiply, np.copyto, np.copyto]


@pytest.mark.parametrize("label", ["np", "slice", "Ellipsis", "lambda", "3", "", "t", "a b"])
def test_labels_that_python_or_the_program_uses_itself(label):
    step = vector.compile(lambda x: vector.Tensor(x)[1:] * p[..., 1:] * 2.0)
    p = vector.Tensor(np.arange(4.0), label)
    for i in range(3):
        assert same(step(np.arange(4.0) + i).data, (np.arange(3.0) + 1 + i) * np.arange(1.0, 4.0) * 2.0)


def test_an_argument_called_slice():
    step = vector.compile(lambda slice: vector.Tensor(slice)[1:] * 2.0)
    for i in range(3):
        assert same(step(np.arange(4.0) + i).data, (np.arange(1.0, 4.0) + i) * 2.0)
