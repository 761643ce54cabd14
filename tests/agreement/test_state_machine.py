"""Both engines side by side through any sequence of moves: after each, values, gradients and errors agree to the bit.

A pair is one thing in both: a numpy array of Values (see `spelt`) and the Tensor of its numbers. Pairs of one shape are
combined number by number, and rows summed, so that nothing is added up in another order.
"""

import itertools
import os
from contextlib import nullcontext

import numpy as np
import pytest
import spelt
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from judging import elementwise, same
from networks import OPTIMIZERS
from strategies import GUARDED, calls

import scalar
import vector

SHAPES = [(), (3,)]
NUMBERS = st.floats(0.25, 4.0).map(lambda x: round(x, 3)) | st.floats(-4.0, -0.25).map(lambda x: round(x, 3))
WAYS = st.sampled_from(["assign", "new", "in place", "the user's array"])
RARELY = st.integers(0, 5).map(lambda n: n == 5)
MOVES = st.sampled_from([0.5, -0.25, 1.0, 1e-9])
TEXTS = [text for name in elementwise() for text in ([GUARDED[name]] if name in GUARDED else calls(name))]
ROWS = ["sum({})", "mean({})", "max({})", "min({})", "logsumexp({})"]
CHANGED = "was changed after the forward pass"


class Pair:
    """The same in both engines. `held`: an array of the user's that the tensor was made of. `alone`: no other tensor
    looks at the same memory, as no other Value does."""

    def __init__(self, name, slow, fast, held=None, alone=True):
        self.name, self.slow, self.fast, self.held, self.alone = name, slow, fast, held, alone

    @property
    def movable(self):
        """Whether the tensor's array may be written to without a word to others."""
        return self.alone and self.fast._data.flags.writeable

    def __repr__(self):
        return self.name

    def values(self):
        return self.slow.ravel().tolist()

    def numbers(self):
        return [v.data for v in self.values()]


def outcome(move):
    """What a move gives, or the error that it raises."""
    try:
        return move(), None
    except Exception as error:
        return None, (type(error), str(error).replace("Tensor", "Value"))


class Engines(RuleBasedStateMachine):
    """All that one may do with nodes, done twice."""

    pairs = Bundle("pairs")
    optimizers = Bundle("optimizers")
    steps = Bundle("steps")
    states = Bundle("states")

    def __init__(self):
        super().__init__()
        self.names = (f"v{i}" for i in itertools.count())
        self.live = []
        self.trained = []  # what optimizers and recorded steps hold, though it may be deleted
        self.whole = True  # all changes were of whole pairs
        self.slopes = False  # there are nodes that a derivative made
        self.silent = np.errstate(all="ignore")
        self.silent.__enter__()

    def teardown(self):
        self.silent.__exit__(None, None, None)

    # --- what becomes of a pair

    def keep(self, slow, fast, **more):
        """A new pair, unless the numbers leave the range in which all ops are at home."""
        slow = slow if isinstance(slow, np.ndarray) else spelt.boxed([slow], ())
        numbers = [v.data for v in slow.ravel().tolist()]
        assert same(numbers, fast._data.ravel(), signed_zeros=False).all(), (numbers, fast)
        if not same(numbers, fast._data.ravel()).all() or not (np.abs(numbers) < 1e4).all():
            return multiple()
        name = next(self.names)
        for v in slow.ravel().tolist():
            v.label = name
        fast.label = name
        pair = Pair(name, slow, fast, **more)
        self.live.append(pair)
        return pair

    def both(self, slow, fast):
        """One move in both engines: the same error, or the two results."""
        (a, wrong), (b, also) = outcome(slow), outcome(fast)
        if wrong != also:
            # Where some numbers of a pair changed, each engine names the first that it comes to. A slope's graph may
            # read more in one engine: where scalar takes a branch, vector computes both.
            changed = [error is not None and CHANGED in error[1] for error in (wrong, also)]
            assert any(changed) if self.slopes else all(changed) and not self.whole, (wrong, also)
            return None
        if wrong:
            event("refused, changed" if CHANGED in wrong[1] else f"refused, {wrong[1]}")
            return None
        return a, b

    @invariant()
    def all_agree(self):
        for pair in self.live:
            assert same(pair.numbers(), pair.fast._data.ravel(), signed_zeros=False).all(), pair
            slopes = [v.grad for v in pair.values()]
            assert same(slopes, pair.fast.grad.ravel(), signed_zeros=False).all(), pair
            assert {v.requires_grad for v in pair.values()} == {pair.fast.requires_grad}

    # --- making

    @initialize(target=pairs, numbers=st.lists(NUMBERS, min_size=3, max_size=3))
    def begin(self, numbers):
        return self.keep(spelt.node(numbers), vector.Tensor(numbers))

    @initialize(target=pairs, numbers=st.lists(NUMBERS, min_size=3, max_size=3))
    def begin_with_a_network(self, numbers):
        self.models = [
            E.nn.Sequential(E.nn.Dense(2, 3, "tanh", seed=5), E.nn.Dense(3, 1, seed=6)) for E in (scalar, vector)
        ]
        slow, fast = (model.layers[0].bias for model in self.models)
        self.biases = self.keep(spelt.boxed(slow, (3,)), fast)
        return self.biases

    @rule(
        target=pairs,
        data=st.data(),
        shape=st.sampled_from(SHAPES),
        of=st.sampled_from(["list", "array", "view"]),
        constant=RARELY,
    )
    def create(self, data, shape, of, constant):
        size = int(np.prod(shape))
        numbers = np.reshape(data.draw(st.lists(NUMBERS, min_size=size, max_size=size)), shape)
        held = np.repeat(numbers[..., None], 2, -1)[..., 0] if of == "view" else numbers.copy()
        slow = spelt.node(numbers)
        fast = vector.Tensor(numbers.tolist() if of == "list" else held, requires_grad=not constant)
        for v in slow.ravel().tolist():
            v.requires_grad = not constant
        return self.keep(slow, fast, held=None if of == "list" else held)

    @rule(
        target=pairs,
        texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4),
        xs=st.lists(pairs, min_size=3, max_size=3),
        without_graph=RARELY,
    )
    def combine(self, texts, xs, without_graph):
        """Elementwise ops one after the other, on pairs of one shape: that of the first."""
        xs = [x if x.slow.shape == xs[0].slow.shape else xs[0] for x in xs]
        made = []
        for text in texts:
            code = text.format(*[f"x{i + 1}" for i in range(text.count("{}"))]).replace("x0 >", "x3 >")
            given = [{f"x{i + 1}": getattr(x, which) for i, x in enumerate(xs)} for which in ("slow", "fast")]
            with (
                scalar.no_grad() if without_graph else nullcontext(),
                vector.no_grad() if without_graph else nullcontext(),
            ):
                pair = self.keep(eval(code, dict(vars(spelt)), given[0]), eval(code, dict(vars(vector)), given[1]))
            if not isinstance(pair, Pair):
                break
            made.append(pair)
            xs = [pair, *xs[:2]]
        return multiple(*made)

    @rule(target=pairs, text=st.sampled_from(ROWS), x=pairs)
    def reduce(self, text, x):
        if x.slow.ndim:
            return self.keep(
                eval(text.format("x"), {**vars(spelt)}, {"x": x.slow}),
                eval(text.format("x"), {**vars(vector)}, {"x": x.fast}),
            )
        return multiple()

    @rule(target=pairs, x=pairs)
    def detach(self, x):
        if not x.fast.requires_grad:  # or there would soon be nothing but constants
            return multiple()
        x.alone = False
        return self.keep(spelt.boxed([v.detach() for v in x.values()], x.slow.shape), x.fast.detach(), alone=False)

    @rule(x=consumes(pairs))
    def delete(self, x):
        self.live.remove(x)

    # --- differentiating

    def roots(self, x):
        """A single Value to start from, and the gradient that the tensor's backward pass starts from."""
        return (scalar.sum(x.values()) if x.slow.ndim else x.slow.item()), np.ones(x.slow.shape)

    @rule(x=pairs, times=st.integers(1, 2))
    def backward(self, x, times):
        root, ones = self.roots(x)
        for _ in range(times):
            if self.both(root.backward, lambda: x.fast.backward(ones)) is None:
                for pair in self.live + self.trained:  # where an engine stopped on its way is its own affair
                    self.set_grad(pair, 0.0)

    @rule(target=pairs, x=pairs, by=st.lists(pairs, min_size=1, max_size=3), create_graph=st.booleans())
    def grad(self, x, by, create_graph):
        root, _ = self.roots(x)
        fast_root = vector.sum(x.fast) if x.slow.ndim else x.fast
        found = self.both(
            lambda: scalar.grad(root, [v for y in by for v in y.values()], create_graph),
            lambda: vector.grad(fast_root, [y.fast for y in by], create_graph),
        )
        if found is None:
            return multiple()
        slow, fast = iter(found[0]), found[1]
        rows = [[next(slow) for _ in range(y.slow.size)] for y in by]
        if create_graph:  # where a slope is a plain 0 for an engine, that one is a constant there
            self.slopes = True
            slopes = [
                self.keep(spelt.boxed(row, y.slow.shape), f)
                for row, f, y in zip(rows, fast, by, strict=True)
                if f.requires_grad
                and all(v.requires_grad for v in row)
                and not f.label
                and not any(v.label for v in row)
            ]
            return multiple(*[pair for pair in slopes if isinstance(pair, Pair)])
        for row, f in zip(rows, fast, strict=True):
            assert same(row, f.ravel(), signed_zeros=False).all()
        return multiple()

    @rule(x=pairs, number=st.sampled_from([0, 0.0, 1.5]))
    def set_grad(self, x, number):
        x.fast.grad = number
        for v in x.values():
            v.grad = float(number)

    # --- changing data

    @rule(x=pairs, by=MOVES, way=WAYS)
    def change(self, x, by, way):
        if way == "in place" and x.movable:
            x.fast.data += by
        elif way == "the user's array" and x.movable and x.held is not None and np.shares_memory(x.held, x.fast._data):
            x.held += by
        elif way == "new":
            x.fast.data = (np.array(x.numbers()) + by).reshape(x.slow.shape)
        else:
            x.fast.data = x.fast.data + by
        for v in x.values():
            v.data += by

    @rule(root=pairs, data=st.data(), by=MOVES, way=WAYS)
    def change_below(self, root, data, by, way):
        """What a backward pass is about to go through."""
        below = set(vector.topological_order(root.fast))
        self.change(data.draw(st.sampled_from([x for x in self.live if x.fast in below] or [root])), by, way)
        self.backward(root, 1)

    @rule(x=pairs)
    def change_nothing(self, x):
        x.fast.data = x.fast.data * 1.0
        for v in x.values():
            v.data *= 1.0

    # --- training

    @rule(
        target=optimizers,
        name=st.sampled_from(sorted(OPTIMIZERS)),
        xs=st.lists(pairs, min_size=1, max_size=3, unique=True),
    )
    def create_optimizer(self, name, xs):
        xs = [x for x in xs if x.fast.requires_grad and not x.fast.op]
        self.trained += xs
        return (
            xs,
            OPTIMIZERS[name](scalar, [v for x in xs for v in x.values()]),
            OPTIMIZERS[name](vector, [x.fast for x in xs]),
        )

    @rule(optimizer=optimizers)
    def step(self, optimizer):
        xs, slow, fast = optimizer
        if not all(x.movable for x in xs):
            return
        before = [x.numbers() for x in xs]
        slow.step()
        fast.step()
        self.moved(xs, before)

    @rule(optimizer=optimizers)
    def zero_grad(self, optimizer):
        for one in optimizer[1:]:
            one.zero_grad()

    def moved(self, xs, before):
        for x, numbers in zip(xs, before, strict=True):
            same_as_before = [a == b for a, b in zip(x.numbers(), numbers, strict=True)]
            self.whole = self.whole and all(same_as_before) == any(same_as_before)

    @rule(target=steps, text=st.sampled_from(TEXTS), x=pairs)
    def compile(self, text, x):
        """A step of training for one parameter: forward, backward, update."""
        if x.fast.op or not x.fast.requires_grad:
            return multiple()
        self.trained.append(x)
        code = text.format(*["p", "k"][: text.count("{}")]).replace("x0 >", "k >")

        def slow(k):
            for v in x.values():
                v.grad = 0.0
            row = eval(code, dict(vars(spelt)), {"p": x.slow, "k": spelt.node(k)}).ravel().tolist()
            loss = scalar.sum(row)
            loss.backward()
            for v in x.values():
                v.data -= 0.125 * v.grad
                v.grad = 0.0
            return loss.data

        @vector.compile
        def fast(k):
            x.fast.grad = None
            loss = vector.sum(eval(code, dict(vars(vector)), {"p": x.fast, "k": vector.Tensor(k)}))
            loss.backward()
            x.fast.data -= 0.125 * x.fast.grad
            x.fast.grad = None
            return loss

        return x, slow, fast

    @rule(step=steps, data=st.data(), times=st.integers(1, 2))
    def replay(self, step, data, times):
        x, slow, fast = step
        if not x.movable:
            return
        k = np.reshape(data.draw(st.lists(NUMBERS, min_size=x.slow.size, max_size=x.slow.size)), x.slow.shape)
        for _ in range(times):
            before = x.numbers()
            held = [*fast.latest.tensors.values()] if fast.latest else []
            if held and not any(array is x.fast._data for array in held):
                kind, text = outcome(lambda: fast(k))[1]
                assert kind is vector.RecordingError and "to another array" in text
                fast.clear()
            assert same(slow(k), fast(k).item(), signed_zeros=False).all()
            self.moved([x], [before])

    # --- the network, whose first biases are a pair

    @rule()
    def learn(self):
        """The network's gradient reaches the biases: bit for bit is too much to ask of its sums, so it is shared."""
        slow, fast = (model.layers[0].bias for model in self.models)
        losses = [
            scalar.mse([self.models[0](row) for row in BATCH], [[1.0], [-0.5]]),
            vector.mse(self.models[1](np.array(BATCH)), [[1.0], [-0.5]]),
        ]
        slopes = scalar.grad(losses[0], slow), vector.grad(losses[1], fast)
        assert np.allclose(*slopes, rtol=1e-12, atol=1e-12)
        for v, g in zip(slow, slopes[1].tolist(), strict=True):
            v.grad = g
        fast.grad = slopes[1]

    @rule(target=states, of=st.integers(0, 1))
    def save(self, of):
        states = [model.state_dict() for model in self.models]
        for name, array in states[0].items():
            assert same(array, states[1][name], signed_zeros=False).all()
        return states[of]

    @rule(state=states)
    def load(self, state):
        if self.biases.movable:
            before = self.biases.numbers()
            for model in self.models:
                model.load_state_dict(state)
            self.moved([self.biases], [before])


BATCH = [[0.5, -1.0], [2.0, 0.25]]
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
Engines.TestCase.settings = settings(
    max_examples=settings.default.max_examples // (10 if THOROUGH else 1), stateful_step_count=60 if THOROUGH else 25
)
TestEngines = Engines.TestCase


BROKEN = {
    "a derivative": (vector.ops.OPS["tanh"], "rules", (lambda g, out, x: g * (1.001 - out * out),)),
    "another": (scalar.ops.OPS["clip"], "rules", (lambda g: g,)),
    "a look at what changed": (scalar.autodiff, "check_unchanged", lambda node: None),
    "the same in vector": (vector.storage.Eager, "unchanged", lambda self, x, then, more: True),
    "no_grad": (scalar.autodiff.Mode, "graph", property(lambda self: True, lambda self, new: None)),
    "an optimizer": (scalar.optim.SGD, "step", lambda self: None),
    "loading": (vector.nn.Sequential, "load_state_dict", lambda self, state: None),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what, monkeypatch):
    monkeypatch.setattr(*BROKEN[what])
    hard = settings(max_examples=2000, stateful_step_count=40, phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises(Exception):  # noqa: B017
        run_state_machine_as_test(Engines, settings=hard)
