"""One GPT on both engines: random tiny ones agree within derived bounds, padding changes nothing, one recording serves
documents of all lengths, and what is wrong in one of them is found."""

import numpy as np
import pytest
from bounds import errors, slopes
from engines import compare, undecided
from gpts import NUMBERS, TENSORS, Gpt, Sizes, example, pair, weights_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from judging import same

import scalar
import vector

SIZES = st.builds(
    lambda letters, heads, part, layers, context: Sizes(letters, heads * part, heads, layers, context),
    st.integers(2, 4),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 3),
)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[Sizes, int, list[list[int]]]:
    """Sizes, a seed and documents, which end before the context does or with it."""
    sizes = draw(SIZES)
    document = st.lists(st.integers(0, sizes.letters - 1), min_size=2, max_size=sizes.context + 1)
    return sizes, draw(st.integers(0, 99)), draw(st.lists(document, min_size=1, max_size=2))


def agree(slow: Gpt, fast: Gpt, letters: np.ndarray, targets: np.ndarray) -> bool:
    """Logits, loss and all gradients, each within the error of both. Returns False, without comparing, where rounding
    decides on which side of its corner a relu falls."""
    outputs = [model(letters) for model in (slow, fast)]
    losses = [model.loss(letters, targets) for model in (slow, fast)]
    found = [slopes(m.engine.package, loss, m.parameters) for m, loss in zip((slow, fast), losses, strict=True)]
    e_slow = errors([*outputs[0].ravel(), losses[0], *found[0]])
    e_fast = errors([outputs[1], losses[1], *found[1]])
    if undecided(e_slow) or undecided(e_fast):
        return False
    compare("logits", outputs[0].ravel().tolist(), [outputs[1]], e_slow, e_fast)
    compare("loss", [losses[0]], [losses[1]], e_slow, e_fast)
    compare("gradient", found[0], found[1], e_slow, e_fast)
    return True


@settings(max_examples=max(8, settings.default.max_examples // 5))
@given(task=tasks())
def test_random_gpts(task):
    sizes, seed, documents = task
    assume(agree(*pair(sizes, seed), *example(documents, sizes.letters, max(map(len, documents)) - 1)))


@settings(max_examples=max(5, settings.default.max_examples // 10))
@given(task=tasks())
@pytest.mark.compiler
def test_random_gpts_train_alike(task):
    """Three steps of Adam on single numbers, on tensors, and recorded, of documents that are padded there."""
    sizes, seed, documents = task
    length = max(map(len, documents)) - 1
    losses = []
    for engine, record, places in ((NUMBERS, False, length), (TENSORS, False, length), (TENSORS, True, sizes.context)):
        model = Gpt(sizes, engine, weights_of(sizes, seed))
        optimizer = engine.package.optim.Adam(model.parameters, 0.01)
        step = vector.compile(model.step, exact=False) if record else model.step
        given = example(documents, sizes.letters, places)
        losses.append([step(optimizer, *given).item() for _ in range(3)])
    assert np.allclose(losses[0], losses[1], rtol=1e-9, atol=1e-12)
    assert np.allclose(losses[1], losses[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("engine", [NUMBERS, TENSORS], ids=["scalar", "vector"])
def test_padding_changes_nothing(engine):
    """Neither the loss nor a gradient, and a document beside another is as good as one by itself."""
    sizes, documents = Sizes(5, 8, 2, 2, 6), [[0, 1, 2, 0], [0, 3, 0], [0, 4, 4, 1, 2, 0]]
    model = Gpt(sizes, engine, weights_of(sizes, 0))

    def of(some, places):
        for p in model.parameters:
            p.grad = 0.0
        loss = model.loss(*example(some, 5, places))
        loss.backward()
        return {"loss": np.array(loss.data), **{name: g.copy() for name, g in model.gradients().items()}}

    together = of(documents, 6)
    alone = [of([document], len(document) - 1) for document in documents]
    counts = np.array([len(document) - 1.0 for document in documents])
    for name, x in together.items():
        mean = sum(c * each[name] for c, each in zip(counts / counts.sum(), alone, strict=True))
        assert np.abs(x - mean).max() < 1e-13 * max(1.0, np.abs(x).max()), name


@pytest.mark.compiler
def test_one_recording_serves_all_lengths():
    sizes = Sizes(5, 8, 2, 1, 6)
    models = [Gpt(sizes, TENSORS, weights_of(sizes, 0)) for _ in range(2)]
    plain, recorded = models
    optimizers = [vector.optim.Adam(model.parameters, 0.01) for model in models]
    step = vector.compile(recorded.step)
    for document in ([0, 1, 0], [0, 1, 2, 3, 4, 1, 0], [0, 0], [0, 4, 0], [0, 2, 2, 0]):
        loss = plain.step(optimizers[0], *example([document], 5, 6))
        assert same(loss.data, step(optimizers[1], *example([document], 5, 6)).data).all()
    assert step.traces == 1
    assert all(same(a, b).all() for a, b in zip(plain.state().values(), recorded.state().values(), strict=True))


def test_a_place_sees_no_later_one():
    sizes = Sizes(5, 8, 2, 2, 6)
    model = Gpt(sizes, TENSORS, weights_of(sizes, 0))
    seen = []
    logits = model(np.array([[0, 1, 2, 3], [0, 1, 4, 4]]), seen).data
    assert np.array_equal(logits[0, :2], logits[1, :2]) and not np.allclose(logits[0, 2:], logits[1, 2:])
    assert len(seen) == 2 and seen[0].shape == (2, 2, 4, 4)
    assert not np.triu(seen[1].data, 1).any() and np.allclose(seen[1].data.sum(axis=-1), 1.0)


WRONG = {
    "no root of d": lambda gpt: setattr(gpt, "attention", spoilt(gpt, 1.0001)),
    "places that see later ones": lambda gpt: setattr(gpt, "mask", np.zeros_like(gpt.mask)),
    "another slope": lambda gpt: setattr(gpt, "engine", gpt.engine._replace(relu=lambda x: vector.leaky_relu(x, 1e-9))),
    "a logarithm that is off": lambda gpt: setattr(
        gpt, "engine", gpt.engine._replace(log_softmax=lambda x: vector.log_softmax(x) * (1.0 + 1e-9))
    ),
}


def spoilt(gpt: Gpt, factor: float):
    attention = type(gpt).attention
    return lambda i, x, places, seen: attention(gpt, i, x * factor, places, seen)


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(what):
    sizes = Sizes(4, 4, 2, 1, 3)
    slow, fast = pair(sizes, 0)
    given = example([[0, 1, 2, 0]], 4, 3)
    assert agree(slow, fast, *given)
    WRONG[what](fast)
    with pytest.raises(AssertionError):
        agree(slow, fast, *given)


def test_any_engine_of_single_numbers_will_do():
    """The lines ask for no more than they say; the graph has a node for each operation."""
    sizes = Sizes(4, 4, 2, 1, 3)
    model = Gpt(sizes, NUMBERS, weights_of(sizes, 0))
    loss = model.loss(*example([[0, 1, 2, 0]], 4, 3))
    names = {node.op.name for node in scalar.topological_order(loss) if node.op}
    assert names == {"add", "subtract", "multiply", "divide", "negative", "exp", "log", "sqrt", "relu"}
