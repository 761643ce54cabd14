"""`nn.Layer`: where parameters, buffers and layers are found, what they are called, and what is refused."""

import copy
import functools
import re
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from recorded import same

import vector
from vector import Tensor, nn, optim
from vector.nn.hidden import name_of

X = np.array([[0.3, -1.2, 0.7, 0.1], [1.5, 0.1, -0.4, 2.0]])
Y = np.array([0, 1])


class Scale(nn.Layer):
    """A layer of a user's, which does not call `super().__init__()`."""

    def __init__(self, n=4):
        self.weight = Tensor(np.ones(n), "scale")

    def __call__(self, x):
        return x * self.weight


class Net(nn.Layer):
    """Every place where a layer or a tensor may stand."""

    def __init__(self):
        self.first = nn.Dense(4, 4, "tanh", seed=0)
        self.gain = Tensor(1.0)
        self.blocks = [nn.Flatten(), nn.Dense(4, 4, seed=1), [Scale()], (Tensor(np.zeros(4)),)]
        self.heads = {"a": nn.Dense(4, 2, seed=2), 1: {"b": nn.Dense(4, 2, seed=3)}}
        self.inner = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Dropout(0.0), Scale()))
        self.register_buffer("mean", np.zeros(4))
        self.width, self.name, self.nothing = 4, "net", None

    def __call__(self, x):
        x = self.inner(self.first(x) * self.gain)
        flat, dense, (scale,), (shift,) = self.blocks
        x = scale(dense(flat(x))) + shift - self.mean
        return self.heads["a"](x) + self.heads[1]["b"](x)


NAMES = ["first.weight", "first.bias", "gain", "blocks.1.weight", "blocks.1.bias", "blocks.2.0.weight", "blocks.3.0"]
NAMES += ["heads.a.weight", "heads.a.bias", "heads.1.b.weight", "heads.1.b.bias", "inner.0.0.weight", "mean"]


def test_all_is_found_in_order_of_attributes():
    net = Net()
    state = net.state_dict()
    assert [*state] == NAMES
    assert [*net.named()] == NAMES[:-1] and [id(p) for p in net.parameters()] == [*map(id, net.named().values())]
    assert state["heads.1.b.weight"].shape == (4, 2) and state["mean"].tolist() == [0.0] * 4
    model = nn.Sequential(net)
    assert [*model.state_dict()] == [p.label for p in (*model.parameters(), net.mean)] == [f"0.{x}" for x in NAMES]


def test_all_is_trained():
    net = Net()
    model = nn.Sequential(net)
    before = net.state_dict()
    model.fit(X, Y, optim.SGD(model.parameters(), 0.1), epochs=2, compile=False)
    after = net.state_dict()
    assert not any(same(before[name], after[name]) for name in NAMES[:-1])
    assert same(before["mean"], after["mean"])


def test_nested_models_are_saved_and_loaded(tmp_path):
    def made(seed):
        return nn.Sequential(nn.Sequential(nn.Dense(4, 3, seed=seed)), nn.Dense(3, 2, seed=seed + 1))

    model, other = made(0), made(5)
    assert [*model.state_dict()] == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]
    model.save(tmp_path / "model.npz")
    assert not same(model(X).data, other(X).data)
    other.load(tmp_path / "model.npz")
    assert same(model(X).data, other(X).data)


def test_a_layers_own_state():
    net, other = Net(), Net()
    for p in net.parameters():
        p.data += 1.0
    net.mean.data[...] = 3.0
    state = net.state_dict()
    other.load_state_dict(state)
    assert same(net(X).data, other(X).data)
    state["mean"] += 1.0  # copies
    assert same(net.mean.data, np.full(4, 3.0)) and same(other.mean.data, np.full(4, 3.0))
    before = other.state_dict()
    for wrong, kind, words in [
        ({**state, "gain": "a"}, TypeError, "load_state_dict: gain: expected a real number, got str"),
        ({**state, "mean": np.zeros(3)}, ValueError, r"load_state_dict: mean: expected shape \(4,\), got \(3,\)"),
        ({**state, "more": 1.0}, ValueError, r"load_state_dict: expected the names \['blocks.1.bias',"),
    ]:
        with pytest.raises(kind, match=words):
            other.load_state_dict(wrong)
        assert all(same(x, before[name]) for name, x in other.state_dict().items())


def test_only_layers_with_state_are_counted():
    """Parameters or buffers; not functions, nor layers without either."""
    constant = nn.Flatten()
    constant.register_buffer("mean", 1.0)
    layers = nn.Flatten(), nn.Dense(2, 2), vector.tanh, np.tanh, constant, nn.Sequential(nn.Flatten()), nn.Dense(2, 2)
    assert [*nn.Sequential(*layers).state_dict()] == ["0.weight", "0.bias", "1.mean", "2.weight", "2.bias"]


def test_attributes_of_common_names():
    layer = nn.Flatten()
    layer.parts, layer.details, layer.layers, layer.name = [nn.Dense(2, 2)], nn.Dense(2, 2), {}, "a"
    assert [*layer.named()] == ["parts.0.weight", "parts.0.bias", "details.weight", "details.bias"]
    assert repr(layer).startswith("Flatten")


def test_a_deep_model_is_named_in_no_time():
    model = nn.Dense(2, 2, seed=0)
    for _ in range(40):
        model = nn.Sequential(nn.Flatten(), model)
    assert [*model.state_dict()] == ["0." * 40 + "weight", "0." * 40 + "bias"]


def test_what_is_shared_is_found_once():
    layer = nn.Dense(2, 2, seed=0)
    shared = nn.Layer()
    shared.a, shared.b = layer, {"again": layer}
    shared.weight = layer.weight
    shared.myself = shared
    shared.loop = [shared]
    shared.loop.append(shared.loop)
    assert [*shared.state_dict()] == ["a.weight", "a.bias"] and len(shared.parameters()) == 2
    assert [*nn.Sequential(layer, layer, nn.Dense(2, 1)).state_dict()] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_two_tensors_of_one_name():
    layer = nn.Layer()
    layer.table = {1: Tensor(1.0), "1": Tensor(2.0)}
    with pytest.raises(ValueError, match=r"Layer: expected names that differ, got table\.1 twice"):
        layer.state_dict()


def test_what_is_no_state():
    """Results of ops, and plain arrays."""
    layer = Scale()
    layer.seen, layer.table = layer(X), np.ones(3)
    assert [*layer.state_dict()] == ["weight"]


def test_a_frozen_parameter_stays_one():
    layer = Scale()
    layer.weight.requires_grad = False
    assert [*layer.named()] == ["weight"] and [*layer.state_dict()] == ["weight"]


def test_a_subclass_of_sequential():
    class Model(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Dense(2, 2, seed=0))
            self.head = nn.Dense(2, 1, seed=1)

        def __call__(self, x):
            return self.head(super().__call__(x))

    assert [*Model().state_dict()] == ["0.weight", "0.bias", "head.weight", "head.bias"]


def test_a_layer_that_is_a_dataclass():
    @dataclass
    class Pair(nn.Layer):
        left: nn.Dense
        right: nn.Dense

        def __call__(self, x):
            return self.left(x) + self.right(x)

    model = nn.Sequential(Pair(nn.Dense(4, 2, seed=0), nn.Dense(4, 2, seed=1)))
    assert [*model.state_dict()] == ["0.left.weight", "0.left.bias", "0.right.weight", "0.right.bias"]
    assert model(X).shape == (2, 2)


def test_copies_are_layers_of_their_own():
    net = Net().eval()
    twin = copy.deepcopy(net)
    assert [*twin.state_dict()] == NAMES and not twin.first.training
    twin.first.weight.data += 1.0
    twin.mean.data += 1.0
    assert not same(net.first.weight.data, twin.first.weight.data) and not net.mean.data.any()


def test_a_layer_without_a_call_and_one_with_too_many_arguments():
    with pytest.raises(TypeError, match="Sequential: expected layers, each an argument of its own, got Layer"):
        nn.Sequential(nn.Layer())
    with pytest.raises(TypeError):
        nn.Flatten(3)


# --- buffers ----------------------------------------------------------------------------------------------------------


def test_a_buffer_is_a_constant_copy():
    layer, data, other = nn.Layer(), np.ones(3, np.float32), Tensor([1.0, 2.0])
    layer.register_buffer("a", data)
    assert not layer.a.requires_grad and layer.a.label == "a" and layer.a.dtype == np.float32
    data += 1.0
    assert layer.a.data.tolist() == [1.0] * 3
    layer.register_buffer("b", other)
    layer.register_buffer("c", 3)
    other.data += 1.0
    assert layer.b.data.tolist() == [1.0, 2.0] and layer.c.data == 3.0 and other.requires_grad
    assert [*layer.state_dict()] == ["a", "b", "c"] and layer.parameters() == []
    layer.register_buffer("b", 4.0)
    assert [*layer.state_dict()] == ["a", "b", "c"] and layer.b.data == 4.0


def test_the_name_of_a_buffer():
    layer = Scale()
    layer.register_buffer("mean", 0.0)
    for name in ("weight", "train", "a.b", "", "1"):
        with pytest.raises(ValueError, match=f"register_buffer: expected a new name, got {name!r}"):
            layer.register_buffer(name, 0.0)
    with pytest.raises(TypeError, match="register_buffer: words: expected a real number, got str"):
        layer.register_buffer("words", "a")
    for wrong in (np.zeros(()), 1.0, Tensor(1.0), layer.weight * 2.0):
        with pytest.raises(TypeError, match="Layer: expected a constant tensor for the buffer 'mean'; write into it"):
            layer.mean = wrong
    layer.mean = layer.weight.detach()
    assert [*layer.state_dict()] == ["weight", "mean"] and [*layer.named()] == ["weight"]
    del layer.mean
    assert [*layer.state_dict()] == ["weight"]


def test_a_buffer_elsewhere_is_one_too():
    layer, other = nn.Layer(), nn.Layer()
    other.register_buffer("table", np.ones(3))
    layer.table, layer.other = other.table, other
    assert layer.parameters() == [] and [*layer.state_dict()] == ["table"]


# --- hidden parameters ------------------------------------------------------------------------------------------------


class Ducktyped:
    """What looks like a layer."""

    def __init__(self):
        self.w = Tensor(np.ones(4), "w")

    def __call__(self, x):
        return x * self.w


class WithParameters(Ducktyped):
    def __init__(self):
        pass

    def parameters(self):
        return [Tensor(1.0)]


class WithState(Ducktyped):
    def __init__(self):
        pass

    def state(self):
        return {}


class Slotted:
    __slots__ = ("empty", "w")

    def __init__(self):
        self.w = [Tensor(1.0, "w")]

    def __call__(self, x):
        return x


class LayerOfClass(nn.Layer):
    weights = {"w": Tensor(1.0, "w")}  # noqa: RUF012

    def __call__(self, x):
        return x


class SlottedLayer(nn.Layer):
    __slots__ = ("w",)

    def __init__(self):
        self.w = Tensor(1.0, "w")

    def __call__(self, x):
        return x


GLOBAL = Tensor(1.0, "w")


def of_global(x):
    return sum(x * y for y in [GLOBAL])


def of_closure(held):
    return lambda x: (held, x)[1]


def of_default(x, held=GLOBAL):
    return x


def of_keyword(x, *, held=GLOBAL):
    return x


HIDDEN = {
    "an object's attribute": Ducktyped,
    "a slot": Slotted,
    "a global": lambda: of_global,
    "a variable of an enclosing function": lambda: of_closure(Tensor(1.0, "w")),
    "a layer there": lambda: of_closure(nn.Dense(2, 2)),
    "a list there": lambda: of_closure([{"a": (Tensor(1.0, "w"),)}]),
    "an object there": lambda: of_closure(SimpleNamespace(deep=deque([Tensor(1.0, "w")]))),
    "a function there": lambda: of_closure(of_closure(Tensor(1.0, "w"))),
    "a default": lambda: of_default,
    "a keyword's default": lambda: of_keyword,
    "a partial function": lambda: functools.partial(lambda y, x: x, Tensor(1.0, "w")),
    "its keywords": lambda: functools.partial(lambda x, y: x, y=Tensor(1.0, "w")),
    "a method's object": lambda: Ducktyped().__call__,
    "a set": lambda: of_closure({Tensor(1.0, "w")}),
    "what a result was made of": lambda: of_closure(Tensor(1.0, "w") * 2.0),
}


def refused(what, where):
    words = f"Layer: expected layers that show their parameters, got {what} in {where}, which hides some; make it a "
    return pytest.raises(TypeError, match=re.escape(words + "subclass of nn.Layer"))


@pytest.mark.parametrize("place", HIDDEN)
def test_hidden_parameters_are_refused(place):
    dense, hiding = nn.Dense(4, 4), HIDDEN[place]()
    layer = nn.Flatten()
    layer.dense, layer.act = dense, [hiding]
    with refused(name_of(hiding), "Sequential"):
        nn.Sequential(dense, hiding)
    for ask in (layer.parameters, layer.state_dict, lambda: nn.Sequential(layer)):
        with refused(name_of(hiding), "Flatten"):
            ask()
    assert "dense: Dense(4, 4)" in repr(layer)


@pytest.mark.parametrize("hiding", [WithParameters, WithState])
def test_the_methods_of_a_layer_without_being_one(hiding):
    with refused(hiding.__name__, "Sequential"):
        nn.Sequential(nn.Dense(4, 4), hiding())


@pytest.mark.parametrize("hiding", [LayerOfClass, SlottedLayer])
def test_parameters_of_a_class(hiding):
    words = f"Layer: expected parameters in attributes of the object, got some in the class {hiding.__name__}"
    with pytest.raises(TypeError, match=words):
        nn.Sequential(nn.Dense(4, 4), hiding())


def test_a_tensor_in_a_set():
    layer = nn.Layer()
    layer.some = {Tensor(np.ones((2, 3)))}
    with refused("set", "Layer"):
        layer.parameters()


def test_a_result_of_what_nobody_trains():
    """`Tensor(...) * 0.1` is no leaf: it would never be trained."""
    layer = nn.Layer()
    layer.w = Tensor(np.ones(3), "w") * 0.1
    with pytest.raises(TypeError, match="expected parameters that no op made, got a result of multiply in Layer;"):
        layer.parameters()


def test_what_is_in_the_model_is_not_hidden():
    encoder = nn.Dense(4, 3, "tanh", seed=0)
    frozen = nn.Dense(4, 4)
    for p in frozen.parameters():
        p.requires_grad = False
    model = nn.Sequential(
        lambda x: frozen(x) + x, encoder, lambda x: x @ encoder.weight.T, encoder.__call__, of_closure(lambda x: x)
    )
    assert len(nn.Sequential(encoder, of_closure(encoder.bias * Tensor(1.0, "w"))).parameters()) == 2  # in part
    assert [*model.state_dict()] == ["0.weight", "0.bias"]
    assert model(X).shape == (2, 3)
    model.fit(X, Y, optim.SGD(model.parameters(), 0.1), compile=False)


# --- training and evaluation ------------------------------------------------------------------------------------------


def test_a_layer_trains_until_it_is_told():
    net = Net()
    parts = [net, net.first, net.blocks[0], net.blocks[2][0], net.heads[1]["b"], net.inner.layers[1].layers[0]]
    assert all(part.training for part in parts)
    assert net.eval() is net and not any(part.training for part in parts)
    assert net.train() is net and all(part.training for part in parts)


# --- as text ----------------------------------------------------------------------------------------------------------

TREE = """\
Net                          85  parameters; gain (), blocks.3.0 (4,), mean (4,) buffer
├─ first: Dense(4, 4, tanh)  20  weight (4, 4), bias (4,) frozen
├─ blocks.0: Flatten
├─ blocks.1: Dense(4, 4)     20  weight (4, 4), bias (4,)
├─ blocks.2.0: Scale          4  weight (4,)
├─ heads.a: Dense(4, 2)      10  weight (4, 2), bias (2,)
├─ heads.1.b: Dense(4, 2)    10  weight (4, 2), bias (2,)
├─ inner: Sequential          4
│  ├─ Flatten
│  └─ 0: Sequential           4
│     ├─ Dropout(0.0)
│     └─ 0: Scale             4  weight (4,)
├─ more: Sequential          12
│  ├─ 0: Dense(3, 3, relu)   12  weight (3, 3), bias (3,)
│  ├─ <lambda>
│  ├─ tanh
│  ├─ Noise
│  └─ 1: Dense(3, 3, relu)       same as more.0
└─ last: Dense(4, 4, tanh)       same as first"""


def test_a_model_is_printed_as_a_tree():
    class Noise:
        def __call__(self, x):
            return x

    net = Net()
    net.first.bias.requires_grad = False
    again = nn.Dense(3, 3, "relu")
    net.more = nn.Sequential(again, lambda x: x, vector.tanh, Noise(), again)
    net.last = net.first
    assert repr(net) == TREE
    assert repr(net.first) == "Dense(4, 4, tanh)  20  parameters; weight (4, 4), bias (4,) frozen"
    assert repr(nn.Dropout(0.25)) == "Dropout(0.25)" and repr(nn.Flatten()) == "Flatten"
    big = nn.Sequential(nn.Flatten(), nn.Dense(784, 128, "relu"), nn.Dense(128, 10))
    assert repr(big).splitlines()[0] == "Sequential                   101,770  parameters"


def test_tensors_are_named_as_soon_as_they_are_in_an_attribute() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            self.hidden, self.outs = nn.Dense(3, 2), [nn.Dense(2, 1), {"b": nn.Dense(1, 1)}]
            self.gain, self.own, self.names = Tensor(1.0), Tensor(1.0, "mine"), ["a"]
            self.names.append(self.names)  # what holds itself is no trap

    model = Model()
    labels = [model.hidden.weight.label, model.outs[0].bias.label, model.outs[1]["b"].bias.label]
    assert labels == ["hidden.weight", "outs.0.bias", "outs.1.b.bias"]
    assert (model.gain.label, model.own.label) == ("gain", "mine")

    class Whole(nn.Layer):
        def __init__(self) -> None:
            self.model, self.chain = model, nn.Sequential(nn.Dense(1, 1), nn.Dense(1, 1))

    whole = Whole()
    assert [model.hidden.bias.label, whole.chain.layers[1].weight.label] == ["model.hidden.bias", "chain.1.weight"]
