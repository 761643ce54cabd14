"""An optimizer's state goes from one engine to the other and back."""

import numpy as np
import pytest
from checkpoints import bits, equal, small_model
from mistakes import alike
from recorded import same

import scalar
import vector
from vector import optim

KINDS = {
    "sgd": lambda E, p: E.optim.SGD(p, 0.1),
    "momentum": lambda E, p: E.optim.SGD(p, 0.1, momentum=0.9),
    "nesterov": lambda E, p: E.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda E, p: E.optim.Adam(p, 0.05, betas=(0.8, 0.9), weight_decay=0.1),
    "adamw": lambda E, p: E.optim.AdamW(p, 0.05),
    "amsgrad": lambda E, p: E.optim.Adam(p, 0.05, amsgrad=True),
    "rmsprop": lambda E, p: E.optim.RMSprop(p, 0.01, momentum=0.5, weight_decay=0.01),
    "adagrad": lambda E, p: E.optim.Adagrad(p, 0.1),
    "lion": lambda E, p: E.optim.Lion(p, 0.01, weight_decay=0.1),
}


def parameters(engine):
    """Six numbers, as six Values or as two tensors."""
    if engine is scalar:
        return [scalar.Value(float(i)) for i in range(6)]
    return [vector.Tensor(np.arange(4.0).reshape(2, 2)), vector.Tensor(np.array([4.0, 5.0]))]


def take_steps(ps, optimizer, start, stop):
    for k in range(start, stop):
        i = 0
        for p in ps:
            gradient = np.sin(np.arange(i, i + np.size(p.data)) + k).reshape(np.shape(p.data))
            p.grad = gradient if np.ndim(gradient) else float(gradient)
            i += np.size(p.data)
        optimizer.step()
    return np.concatenate([np.ravel(p.data) for p in ps])


def copy_parameters(source, target):
    values = np.concatenate([np.ravel(p.data) for p in source])
    for p in target:
        now, values = values[: np.size(p.data)], values[np.size(p.data) :]
        p.data = float(now[0]) if isinstance(p, scalar.Value) else now.reshape(p.shape)


@pytest.mark.parametrize("first", [scalar, vector])
@pytest.mark.parametrize("second", [scalar, vector])
@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_goes_on_in_either_engine(kind, first, second):
    ps = parameters(first)
    optimizer = KINDS[kind](first, ps)
    take_steps(ps, optimizer, 0, 3)
    optimizer.lr = 0.07
    state = optimizer.state_dict()
    qs = parameters(second)
    other = KINDS[kind](second, qs)
    copy_parameters(ps, qs)
    other.load_state_dict(state)
    again = other.state_dict()
    assert equal(again, state)
    expected = take_steps(ps, optimizer, 3, 6)
    assert equal(again, state)  # copies, which further steps leave alone
    assert same(take_steps(qs, other, 3, 6), expected)


def test_a_state_is_loaded_into_the_arrays_that_a_recorded_step_holds():
    x, y = np.random.default_rng(0).random((5, 2)), np.array([0, 1, 0, 1, 1])

    def run(compile):
        model = small_model()
        optimizer = optim.Adam(model.parameters(), 0.1)
        step = model.train_step(optimizer, vector.cross_entropy)
        step = vector.compile(step) if compile else step
        for _ in range(3):
            step(x, y)
        saved = model.state_dict(), optimizer.state_dict()
        for _ in range(3):
            step(x, y)
        after = bits(model)
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        for _ in range(3):
            step(x, y)
        assert bits(model) == after
        return after

    assert run(True) == run(False)


def wrong_optimizer_states():
    def change(state):
        state["sums"] = np.ones(6)  # would be taken over if another were not wrong
        return state

    return {
        "names": (lambda s: s.pop("sums"), ValueError, "load_state_dict: expected the names", "squares"),
        "more names": (lambda s: s.update(velocity=np.zeros(6)), ValueError, "expected the names", "velocity"),
        "kind": (lambda s: s["settings"].update(kind="AdamW"), ValueError, "expected the settings", "AdamW"),
        "betas": (lambda s: s["settings"].update(betas=[0.5, 0.9]), ValueError, "expected the settings", "0.5"),
        "shape": (
            lambda s: change(s).update(squares=np.ones((2, 3))),
            ValueError,
            "load_state_dict: squares: expected shape (6,), got (2, 3)",
        ),
        "too few": (lambda s: change(s).update(powers=np.ones(1)), ValueError, "powers: expected shape (2,), got (1,)"),
        "bools": (lambda s: change(s).update(squares=np.ones(6, bool)), TypeError, "squares: expected a real number"),
        "lr": (
            lambda s: change(s).update(lr="fast"),
            TypeError,
            "load_state_dict: lr: expected a real number, got str",
        ),
    }


@pytest.mark.parametrize("name", wrong_optimizer_states())
def test_a_state_dict_of_another_optimizer(name):
    change, kind, *words = wrong_optimizer_states()[name]

    def mistake(E, N, A):
        optimizer = KINDS["adam"](E, parameters(E))
        take_steps(optimizer.parameters, optimizer, 0, 2)
        before, state = optimizer.state_dict(), optimizer.state_dict()
        change(state)
        try:
            optimizer.load_state_dict(state)
        finally:
            assert equal(optimizer.state_dict(), before), "a failed load changed numbers"

    alike(mistake, kind, *words)


def test_an_optimizer_of_nothing_and_one_that_says_nothing_of_its_state():
    for engine in (scalar, vector):
        for kind in KINDS.values():
            optimizer = kind(engine, [])
            optimizer.load_state_dict(optimizer.state_dict())
        with pytest.raises(NotImplementedError):
            engine.optim.Optimizer([], 0.1, 0.0).state_dict()
