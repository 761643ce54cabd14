"""What layers share: where their state is found, how it is saved, training or not, and what parameters start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from ..op import array
from ..runtime.memory import aligned
from ..storage import Guarded
from ..tensor import Tensor
from .hidden import class_attributes, hidden
from .outline import Row, outline

Initializer = Callable[..., np.ndarray]  # (generator, n_in, n_out) to (n_in, n_out)
Named = tuple[str, Any]


class Layer(Guarded):
    """A part of a model. Subclass it: set attributes in `__init__`, compute in `__call__`; nothing need be registered.

    Its state is found in its attributes, also in lists, tuples and dicts there, and in the layers among them:

    parameters  every Tensor that is a leaf; with `requires_grad = False` it is frozen, and still a parameter
    buffers     Tensors made by `register_buffer`, which are saved and not trained

    `training` is True until `eval()`, and again after `train()`. A Tensor has one name, that of the first place where
    it is found: parts joined by dots, as in "blocks.0.weight". Whatever asks for parameters or state raises TypeError
    for a part that is no Layer and holds parameters, ValueError for two tensors of one name.
    """

    training = True
    _buffers: tuple[str, ...] = ()  # the attributes that are buffers
    __call__: Callable[..., Any]

    def __new__(cls, *args: Any, **named: Any) -> Self:
        """A layer whose `training` is its own, for recorded steps to guard, whatever `__init__` of a subclass does."""
        made = super().__new__(cls)
        made.__dict__["training"] = True
        return made

    def __init__(self) -> None:
        pass  # and takes no arguments

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._buffers and (not isinstance(value, Tensor) or value.requires_grad):
            raise TypeError(f"Layer: expected a constant tensor for the buffer {name!r}; write into it by .data[...] =")
        super().__setattr__(name, value)

    def register_buffer(self, name: str, value: Any) -> None:
        """Hold a copy of an array, a number or a Tensor as the attribute `name`, a constant Tensor that is saved with
        the parameters, but not trained. Write into it, as in `self.mean.data[...] = new`.

        Raises ValueError for a name that is taken or cannot be an attribute's, TypeError for no numbers.
        """
        if name not in self._buffers and (hasattr(self, name) or not name.isidentifier()):
            raise ValueError(f"register_buffer: expected a new name, got {name!r}")
        data = value.data if isinstance(value, Tensor) else value
        buffer = Tensor(array(data, f"register_buffer: {name}").copy(), name, requires_grad=False)
        self._buffers = tuple({**dict.fromkeys(self._buffers), name: None})
        setattr(self, name, buffer)

    def parts(self) -> Iterable[Named]:
        """What the layer holds, by name, in order: its attributes."""
        return vars(self).items()

    def details(self) -> str:
        """What stands in brackets behind the layer's name where it is printed."""
        return ""

    def named(self) -> dict[str, Tensor]:
        """The parameters by dotted name, each once, in order of attributes."""
        tensors, buffers = tensors_of(self), buffers_of(self)
        return {name: x for name, x in tensors.items() if id(x) not in buffers}

    def parameters(self) -> list[Tensor]:
        """The parameters, each once, in order of attributes."""
        return [*self.named().values()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays of parameters and buffers by dotted name: "0.weight" is (n_in, n_out), "0.bias" (n_out,)
        of the first of a Sequential's layers that has any."""
        return {name: x.data.copy() for name, x in tensors_of(self).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers of a state dict of either engine.

        Raises ValueError, and changes nothing, when names or shapes are not this model's; TypeError for no numbers.
        """
        own = tensors_of(self)
        if own.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected the names {sorted(own)}, got {sorted(state)}")
        arrays = {name: array(state[name], f"load_state_dict: {name}") for name in own}
        for name, x in own.items():
            if x.shape != arrays[name].shape:
                raise ValueError(f"load_state_dict: {name}: expected shape {x.shape}, got {arrays[name].shape}")
        for name, x in own.items():
            x.data[...] = arrays[name]

    def train(self, training: bool = True) -> Self:
        """Set `training` of this layer and of all layers in it. Returns the layer."""
        switch(self, training)
        return self

    def eval(self) -> Self:
        """Set `training` of this layer and of all layers in it to False. Returns the layer."""
        return self.train(False)

    def __repr__(self) -> str:
        """The tree of layers, with numbers of parameters, and with the shapes of tensors."""
        return outline(rows(self))


# --- finding the state ------------------------------------------------------------------------------------------------


def parts_of(x: Any) -> Iterable[Named] | None:
    """The parts of a layer, dict, list or tuple by name; None for anything else."""
    if isinstance(x, Layer):
        return x.parts()
    if isinstance(x, dict):
        return ((str(key), part) for key, part in x.items())
    return ((str(i), part) for i, part in enumerate(x)) if isinstance(x, (list, tuple)) else None


def directly_in(layer: Layer) -> Iterator[Named]:
    """What a layer holds by name, in order, with what is in its lists, tuples and dicts in their place."""
    seen: set[int] = set()
    left: list[Named] = [("", layer)]
    while left:
        name, x = left.pop()
        parts = parts_of(x) if x is layer or not isinstance(x, Layer) else None
        if parts is None:
            yield name, x
        elif id(x) not in seen:
            seen.add(id(x))
            left += reversed([(joined(name, part), y) for part, y in parts])


def walk(root: Layer) -> Iterator[Named]:
    """A layer and all that it and the layers in it hold by dotted name, each thing once, in order of attributes."""
    seen: set[int] = set()
    left: list[Named] = [("", root)]
    while left:
        name, x = left.pop()
        if id(x) not in seen:
            seen.add(id(x))
            yield name, x
            if isinstance(x, Layer):
                left += reversed([(joined(name, part), y) for part, y in directly_in(x)])


def joined(*names: str) -> str:
    return ".".join(filter(None, names))


def leaf(x: Any) -> bool:
    """Whether x is a Tensor that no op made."""
    return isinstance(x, Tensor) and x.op is None


def layers_of(root: Layer) -> list[Layer]:
    """The layer itself and all in it, each once."""
    return [x for _, x in walk(root) if isinstance(x, Layer)]


def tensors_of(root: Layer) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name, each once. Raises as `Layer` says."""
    found: dict[str, Tensor] = {}
    for name, x in walk(root):
        if leaf(x):
            if name in found:
                raise ValueError(f"Layer: expected names that differ, got {name} twice")
            found[name] = x
    shown = {id(x) for x in found.values()}
    for layer in layers_of(root):
        check_shown(layer, shown)
    return found


def check_shown(layer: Layer, shown: set[int]) -> None:
    """Raises TypeError where a layer has parameters in what is no layer, and they are not among those shown."""
    where = type(layer).__name__
    if hidden(class_attributes(layer, Layer), shown) is not None:
        raise TypeError(f"Layer: expected parameters in attributes of the object, got some in the class {where}")
    for _, x in directly_in(layer):
        if isinstance(x, Layer) or leaf(x):
            continue
        ducktyped = callable(getattr(type(x), "parameters", None))
        ducktyped |= callable(x) and callable(getattr(type(x), "state", None))
        if not ducktyped and hidden(x, shown) is None:
            continue
        if isinstance(x, Tensor):
            raise TypeError(
                f"Layer: expected parameters that no op made, got a result of {name_of(x.op)} in {where}; "
                f"make a Tensor of the finished array"
            )
        raise TypeError(
            f"Layer: expected layers that show their parameters, got {name_of(x)} in {where}, which hides some; "
            f"make it a subclass of nn.Layer"
        )


def buffers_of(root: Layer) -> set[int]:
    """The ids of the tensors that are buffers somewhere in the layer."""
    return {id(vars(layer)[name]) for layer in layers_of(root) for name in layer._buffers if name in vars(layer)}


def has_tensors(x: Any) -> bool:
    """Whether there are parameters or buffers in x. (For a Sequential that names its parts: it reads no names.)"""
    seen: set[int] = set()
    left = [x]
    while left:
        x = left.pop()
        if leaf(x):
            return True
        if id(x) not in seen:
            seen.add(id(x))
            left += vars(x).values() if isinstance(x, Layer) else (part for _, part in parts_of(x) or ())
    return False


# --- training or not --------------------------------------------------------------------------------------------------


def switch(root: Layer, training: bool) -> None:
    for layer in layers_of(root):
        if layer.training is not training:  # setting an attribute makes recorded steps evaluate their guards
            layer.training = training


@contextmanager
def in_mode(root: Layer, training: bool) -> Iterator[None]:
    """Inside, the layer and all in it are in training or in evaluation; afterwards each is as it was."""
    before = [(layer, layer.training) for layer in layers_of(root)]
    try:
        switch(root, training)
        yield
    finally:
        for layer, was in before:
            if layer.training is not was:
                layer.training = was


# --- as text ----------------------------------------------------------------------------------------------------------


def rows(root: Layer) -> list[Row]:
    """The lines of a layer's outline: one for each layer, and for each function that a Sequential calls."""
    buffers, names = buffers_of(root), {id(x): name for name, x in walk(root)}
    found: list[Row] = []
    drawn: set[int] = set()
    left: list[tuple[int, str, Any]] = [(0, "", root)]
    while left:
        depth, name, x = left.pop()
        title = f"{name}: {title_of(x)}" if name else title_of(x)
        if not isinstance(x, Layer) or id(x) in drawn:
            found.append(Row(depth, title, None, f"same as {names[id(x)]}" if id(x) in drawn else ""))
            continue
        drawn.add(id(x))
        held = [*directly_in(x)]
        notes = ", ".join(f"{part} {y.shape}{mark(y, buffers)}" for part, y in held if leaf(y))
        counted = {id(y): y for _, y in walk(x) if leaf(y) and id(y) not in buffers}.values()
        if x is root and counted:
            notes = f"parameters; {notes}" if notes else "parameters"
        found.append(Row(depth, title, sum(y.size for y in counted) if counted else None, notes))
        left += reversed([(depth + 1, part, y) for part, y in held if isinstance(y, Layer) or not part])
    return found


def title_of(x: Any) -> str:
    if isinstance(x, Layer):
        return f"{type(x).__name__}({details})" if (details := x.details()) else type(x).__name__
    return name_of(x)


def name_of(function: Any) -> str:
    """What a function is called, or the class of what else can be called."""
    return str(getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__))


def mark(x: Tensor, buffers: set[int]) -> str:
    return " buffer" if id(x) in buffers else "" if x.requires_grad else " frozen"


# --- what parameters start from ---------------------------------------------------------------------------------------


def glorot_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Uniform between +-sqrt(6 / (n_in + n_out)) (Glorot and Bengio, 2010). Returns (n_in, n_out), float64."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out))


def he_normal(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Normal with standard deviation sqrt(2 / n_in), for relu (He et al., 2015). Returns (n_in, n_out), float64."""
    return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out))


def zeros(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """All 0. Returns (n_in, n_out), float64."""
    return np.zeros((n_in, n_out))


def parameter(data: np.ndarray, label: str) -> Tensor:
    """A leaf with a copy of the data, which nobody else can write to until somebody asks for its `data`."""
    made = Tensor(aligned(data), label)
    made.memory = []
    return made
