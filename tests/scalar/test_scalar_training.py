"""Layers and optimizers of `scalar`: one parameter, one step; a frozen one stays."""

import functools

import numpy as np
import pytest

import scalar
from scalar import Value

OPTIMIZERS = {
    "SGD": lambda parameters: scalar.optim.SGD(parameters, 0.1),
    "momentum": lambda parameters: scalar.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda parameters: scalar.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: scalar.optim.Adam(parameters, 0.1, weight_decay=0.1),
    "AdamW": lambda parameters: scalar.optim.AdamW(parameters, 0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_listed_twice_is_moved_once(name):
    once, twice = Value(0.5), Value(0.5)
    optimizers = OPTIMIZERS[name]([once]), OPTIMIZERS[name]([twice, twice])
    for _ in range(3):
        for x, optimizer in zip((once, twice), optimizers, strict=True):
            optimizer.zero_grad()
            (x * x * 3.0).backward()
            optimizer.step()
        assert once.data == twice.data
    first, second = (optimizer.state_dict() for optimizer in optimizers)
    assert first.keys() == second.keys()
    for key in first:
        assert np.array_equal(first[key], second[key]), key


def test_a_layer_used_twice_is_moved_once():
    """f(x) = w (w x + b) + b at b = 0 and x = 1: df/dw = 2 w, df/db = w + 1."""
    layer = scalar.nn.Dense(1, 1, seed=0)
    w = layer.weight[0][0].data
    model = scalar.nn.Sequential(layer, layer)
    optimizer = scalar.optim.SGD(model.parameters(), 0.1)
    model([1.0])[0].backward()
    optimizer.step()
    moved = w - layer.weight[0][0].data
    assert f"{moved:.5f}" == "0.09489" and moved == pytest.approx(0.1 * 2.0 * w)
    assert layer.bias[0].data == pytest.approx(-0.1 * (w + 1.0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_parameter_stays(name):
    """And what is remembered of it, too: it goes on from there as soon as it is free again."""
    frozen, free = Value(0.5), Value(0.5)
    optimizer = OPTIMIZERS[name]([frozen, free])

    def step():
        optimizer.zero_grad()
        (frozen * frozen + free * free).backward()
        optimizer.step()

    step()
    memory = {key: list(xs) for key, xs in optimizer.memory().items() if key != "powers"}
    before = frozen.data, free.data
    frozen.requires_grad = False
    frozen.grad = 7.0
    step()
    frozen.grad = 7.0
    optimizer.step()
    assert frozen.data == before[0] and free.data != before[1]
    assert all(optimizer.memory()[key][0] == memory[key][0] for key in memory)
    assert all(optimizer.memory()[key][1] != memory[key][1] for key in memory)
    frozen.requires_grad = True
    step()
    assert frozen.data != before[0]


# --- what a layer holds -----------------------------------------------------------------------------------------------

Dense, Layer, Sequential = scalar.nn.Dense, scalar.nn.Layer, scalar.nn.Sequential


class Gate(Layer):
    """Parameters as an attribute, in lists, in a dict and in a tuple; a buffer; other layers; things that are none."""

    def __init__(self):
        self.width, self.words, self.nothing = 3, ["a", "b"], None
        self.gain = Value(2.0)
        self.table = [[Value(float(i + 10 * j)) for i in range(3)] for j in range(2)]
        self.ragged = [[Value(1.0)], [Value(2.0), Value(3.0)]]
        self.blocks = {"in": Dense(2, 3, seed=0), "out": (Dense(3, 1, seed=1), [Value(5.0), "text"])}
        self.again = self.blocks["in"]
        self.same = self.gain
        self.last = None
        self.register_buffer("mean", [0.0, 1.0, 2.0])

    def __call__(self, xs):
        hidden = [x - m for x, m in zip(self.blocks["in"](xs), self.mean, strict=True)]
        self.last = self.blocks["out"][0](hidden)  # made by ops: no parameter
        return [y * self.gain for y in self.last]


NAMES = {
    "gain": (),
    "table": (2, 3),
    "ragged.0": (1,),
    "ragged.1": (2,),
    "blocks.in.weight": (2, 3),
    "blocks.in.bias": (3,),
    "blocks.out.0.weight": (3, 1),
    "blocks.out.0.bias": (1,),
    "blocks.out.1.0": (),
    "mean": (3,),
}


def test_a_layer_of_ones_own():
    model = Gate()
    model([1.0, 2.0])
    assert {name: array.shape for name, array in model.state_dict().items()} == NAMES
    assert all(array.dtype == np.float64 for array in model.state_dict().values())
    parameters = model.parameters()
    assert len(parameters) == len({id(p) for p in parameters}) == 1 + 6 + 3 + 6 + 3 + 3 + 1 + 1
    labels = [p.label for p in parameters]
    assert labels[:3] == ["gain", "table[0,0]", "table[0,1]"] and labels[-2:] == [
        "blocks.out.0.bias[0]",
        "blocks.out.1.0",
    ]
    before = model([1.0, 2.0])[0].data
    optimizer = scalar.optim.SGD(parameters, 0.01)
    model([1.0, 2.0])[0].backward()
    optimizer.step()
    assert model([1.0, 2.0])[0].data < before


def test_a_state_dict_goes_from_model_to_model():
    one, other = Gate(), Gate()
    for i, p in enumerate(one.parameters()):
        p.data = float(i)
    one.mean = [4.0, 5.0, 6.0]
    other.load_state_dict(one.state_dict())
    assert other([1.0, -1.0])[0].data == one([1.0, -1.0])[0].data
    assert (other.mean, other.again.weight[1][2].data) == ([4.0, 5.0, 6.0], one.again.weight[1][2].data)
    wrong = one.state_dict() | {"mean": np.zeros(2)}
    with pytest.raises(ValueError, match=r"load_state_dict: mean: expected shape \(3,\), got \(2,\)"):
        other.load_state_dict(wrong)
    with pytest.raises(TypeError, match=r"register_buffer: name: expected a real number, got str"):
        other.register_buffer("name", "a")


def test_models_in_models_have_dotted_names():
    relu = lambda xs: [x.relu() for x in xs]  # noqa: E731
    model = Sequential(relu, Sequential(relu, Dense(4, 3, seed=0)), relu, Dense(3, 2, seed=1))
    assert list(model.state_dict()) == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]
    assert [model.layers[3].weight[2][1].label, model.layers[3].bias[0].label] == ["1.weight[2,1]", "1.bias[0]"]
    assert model.layers[1].layers[1].weight[3][0].label == "0.0.weight[3,0]"
    assert model.layers[1].parameters()[0].label == "0.0.weight[0,0]"  # a part keeps the names of the whole
    assert Dense(3, 2).weight[2][1].label == "weight[2,1]"
    assert list(Sequential(model.layers[3], model.layers[3], Dense(2, 2)).state_dict()) == [
        *("0.weight", "0.bias"),
        *("2.weight", "2.bias"),
    ]
    named = Value(1.0, "mine")
    layer = Layer()
    layer.scale = named
    assert layer.parameters() == [named] and named.label == "mine"


def test_train_and_eval_reach_every_layer():
    model = Sequential(Gate(), lambda xs: xs, Dense(1, 1))
    layers = [model, model.layers[0], model.layers[0].blocks["in"], model.layers[0].blocks["out"][0], model.layers[2]]
    assert all(layer.training for layer in layers)
    assert model.eval() is model and not any(layer.training for layer in layers)
    assert model.train() is model and all(layer.training for layer in layers)
    model.layers[0].train(False)
    assert [layer.training for layer in layers] == [True, False, False, False, True]


def test_a_layer_is_drawn_as_a_tree():
    model = Sequential(scalar.tanh, Gate(), Dense(1, 1, lambda x: x, seed=0))
    model.layers[2].bias[0].requires_grad = False
    assert repr(model).splitlines() == [
        "Sequential                       26  parameters",
        "├─ tanh",
        "├─ 0: Gate                       24  gain (), table (2, 3), ragged.0 (1,), ragged.1 (2,), "
        "blocks.out.1.0 (), mean (3,) buffer",
        "│  ├─ blocks.in: Dense(2, 3)      9  weight (2, 3), bias (3,)",
        "│  ├─ blocks.out.0: Dense(3, 1)   4  weight (3, 1), bias (1,)",
        "│  └─ again: Dense(2, 3)             same as 0.blocks.in",
        "└─ 1: Dense(1, 1, <lambda>)       2  weight (1, 1), bias (1,) frozen",
    ]
    assert repr(Dense(2, 1, "relu")) == "Dense(2, 1, relu)  3  parameters; weight (2, 1), bias (1,)"


class Hides:
    def __init__(self, held):
        self.held = held

    def __call__(self, xs):
        return xs


class Slotted:
    __slots__ = ("__private", "held")

    def __init__(self, held):
        self.__private = held

    def __call__(self, xs):
        return xs


class Holder(Layer):
    def __call__(self, xs):
        return xs


def closes_over(held):
    return lambda xs: [x * held for x in xs]


def calls(f):
    return lambda xs: f(xs)


HIDERS = {
    "an object": Hides,
    "in a list": lambda held: Hides([{"a": (1.0, held)}]),
    "slots": Slotted,
    "a closure": closes_over,
    "a closure in a closure": lambda held: calls(closes_over(held)),
    "a method": lambda held: Hides(held).__call__,
    "a partial": lambda held: functools.partial(max, held),
    "a default": lambda held: lambda xs, held=held: xs,
    "a global": lambda held: eval("lambda xs: [max(x * held for x in xs)]", {"held": held}),
    "an activation": lambda held: Dense(2, 2, lambda x: x * held),
    "an object in an object": lambda held: Hides(Hides(held)),
}


@pytest.mark.parametrize("kind", HIDERS)
def test_what_hides_parameters_is_refused(kind):
    hider = HIDERS[kind](Value(0.5))
    holder = Holder()
    holder.parts = {"a": [hider]}
    inside = {"an activation": "<lambda> in Dense", "a closure": "<lambda> in ", "slots": "Slotted in "}
    for model in (Sequential(Dense(2, 2), hider), holder, Sequential(holder)):
        for ask in (model.parameters, model.state_dict, model.named):
            with pytest.raises(TypeError, match="Layer: expected layers that show their parameters, got ") as caught:
                ask()
            assert inside.get(kind, "") in str(caught.value)
            assert "which hides some; make it a subclass of nn.Layer" in str(caught.value)


@pytest.mark.parametrize("kind", HIDERS)
def test_what_the_model_has_elsewhere_is_not_hidden(kind):
    shared = Value(0.5)
    holder = Layer()
    holder.part, holder.shared = HIDERS[kind](shared), shared
    assert any(p is shared for p in holder.parameters())
    frozen, made = Value(0.5, requires_grad=False), Value(1.0) * 2.0
    for harmless in (frozen, made, 1.0, None):
        assert len(Sequential(Dense(2, 2), HIDERS[kind](harmless)).parameters()) in (6, 12)


def test_two_parameters_of_one_name_are_refused():
    layer = Layer()
    layer.a = {"b": Value(1.0), "c": {"d": Value(2.0)}, "c.d": Value(3.0)}
    with pytest.raises(ValueError, match=r"Layer: expected names that differ, got a\.c\.d twice"):
        layer.parameters()


def test_layers_that_hold_each_other():
    one, other = Layer(), Layer()
    one.other, other.one = other, one
    one.here = [Value(1.0)]
    one.here.append(one.here)
    assert list(one.state_dict()) == ["here.0"] and list(other.state_dict()) == ["one.here.0"]
    assert repr(other).splitlines() == [
        "Layer               1  parameters",
        "└─ one: Layer       1  here.0 ()",
        "   └─ other: Layer     same as the whole",
    ]


def test_parameters_are_named_as_soon_as_they_are_in_an_attribute() -> None:
    class Model(Layer):
        def __init__(self) -> None:
            self.hidden, self.outs = Dense(3, 2), [Dense(2, 1), {"b": Dense(1, 1)}]
            self.gain, self.names, self.own = Value(1.0), ["a", "b"], Value(1.0, "mine")

    model = Model()
    assert model.hidden.weight[2][1].label == "hidden.weight[2,1]"
    assert model.outs[0].bias[0].label == "outs.0.bias[0]"
    assert model.outs[1]["b"].bias[0].label == "outs.1.b.bias[0]"
    assert (model.gain.label, model.own.label) == ("gain", "mine")

    class Whole(Layer):
        def __init__(self) -> None:
            self.model, self.chain = model, Sequential(Dense(1, 1), Dense(1, 1))

    whole = Whole()
    assert model.hidden.bias[1].label == "model.hidden.bias[1]"
    assert whole.chain.layers[1].weight[0][0].label == "chain.1.weight[0,0]"
    before = [p.label for p in whole.model.hidden.parameters()]
    assert whole.parameters() and [p.label for p in whole.model.hidden.parameters()] == before
