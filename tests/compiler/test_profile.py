"""The profile of a recorded step: all of its lines, and nothing changed behind it."""

import numpy as np
import pytest
from programs import seed_step
from recorded import same

import vector
from vector import RecordingError
from vector.compiler.profile import ELEMENTS, OTHER, PRODUCT
from vector.runtime import matmul


@pytest.mark.parametrize("exact", [True, False])
def test_a_profile_has_the_lines_of_the_program_and_changes_nothing(exact):
    step, batch, model = seed_step(32, exact, lambda p: vector.optim.SGD(p, 0.1, momentum=0.9))
    other, _, twin = seed_step(32, exact, lambda p: vector.optim.SGD(p, 0.1, momentum=0.9))
    calls = step.latest.count, step.latest.due, step.verified
    found = step.profile(*batch, repeat=3)
    assert (step.latest.count, step.latest.due, step.verified) == calls
    listing = [line.split("# ")[0].strip().lstrip("0123456789 ") for line in str(step.program).splitlines()[1:]]
    assert [row.text for row in found.rows] == listing[: len(found.rows)]
    assert {row.kind for row in found.rows} == {PRODUCT, ELEMENTS, OTHER}
    product = next(row for row in found.rows if "images" in row.text and row.kind == PRODUCT)
    results = 2 if "helpers" in product.text else 1  # which are added
    assert product.operations == 2 * 32 * 784 * 128
    assert product.bytes == 4 * (32 * 784 + 784 * 128 + results * 32 * 128)
    assert all(row.seconds >= 0.0 for row in found.rows) and found.step > 0.0
    for _ in range(3):
        assert same(step(*batch).data, other(*batch).data)
    assert all(same(p.data, q.data) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_profile_as_text():
    step, batch, _ = seed_step(128, False)
    text = str(step.profile(*batch, repeat=2))
    head, columns, *rows = text.splitlines()
    assert head.startswith("train_step: ") and " us a step, " in head
    assert columns.split() == ["us", "%", "KB", "GFLOP/s"]
    assert sum("%  " in row for row in rows[-4:]) == 4 and rows[-1].endswith("arguments, guards, results")
    assert "GFLOP/s, a large product reaches" in text and "GB/s, a large copy reaches" in text


def test_draws_arguments_and_gradients_are_put_back():
    rng = np.random.default_rng(0)
    w = vector.Tensor(np.ones(3), "w", requires_grad=True)

    @vector.compile
    def step(x):
        x += 1.0
        vector.sum(w * x * vector.random.uniform(rng, 3)).backward()
        w.data -= 0.1 * w.grad
        return vector.sum(w)

    x = np.ones(3)
    step(x)
    before = x.copy(), w.data.copy(), w.grad.copy(), rng.bit_generator.state
    step.profile(x, repeat=4)
    assert same(x, before[0]) and same(w.data, before[1]) and same(w.grad, before[2])
    assert rng.bit_generator.state == before[3]


def test_what_is_not_recorded_has_no_profile():
    step = vector.compile(lambda x: vector.sum(x))
    with pytest.raises(RecordingError, match="nothing is recorded for such arguments: call the step with them first"):
        step.profile(np.ones(3))


def test_what_threads_share_is_one_line_of_products(monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    step, batch, _ = seed_step(128, False)
    rows = step.profile(*batch, repeat=2).rows
    shared = [row for row in rows if "helpers," in row.text]
    assert len(shared) == 2 and {row.kind for row in shared} == {PRODUCT}
    assert all(row.operations >= 2 * 128 * 784 * 128 for row in shared)
