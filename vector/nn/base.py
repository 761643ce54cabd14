"""What layers share: where their state is found, how it is saved, and whether they are in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np

from ..epoch import Guarded
from ..op import array
from ..tensor import Tensor
from .hidden import check_shown

Named = tuple[str, Any]
PLAIN = {type(None), bool, int, float, str, np.ndarray}  # what is in most attributes, and no state


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
        label(value, name)

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

    def _held(self) -> Iterable[Named]:
        """What the layer holds, by name, in order: its attributes."""
        return vars(self).items()

    def _details(self) -> str:
        """What stands in brackets behind the layer's name where it is printed."""
        return ""

    def named(self) -> dict[str, Tensor]:
        """The parameters by dotted name, each once, in order of attributes."""
        tensors, buffers = state_of(self)
        return {name: x for name, x in tensors.items() if id(x) not in buffers}

    def parameters(self) -> list[Tensor]:
        """The parameters, each once, in order of attributes."""
        return [*self.named().values()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays of parameters and buffers by dotted name: "0.weight" is (n_in, n_out), "0.bias" (n_out,)
        of the first of a Sequential's layers that has any."""
        return {name: x.data.copy() for name, x in state_of(self)[0].items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers of a state dict of either engine.

        Raises ValueError, and changes nothing, when names or shapes are not this model's; TypeError for no numbers.
        """
        own, _ = state_of(self)
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

    def freeze(self, frozen: bool = True) -> Self:
        """Set `requires_grad` of all parameters to False, so that no optimizer moves them, or back to True. Returns the
        layer."""
        for p in self.parameters():
            p.requires_grad = not frozen
        return self

    def __repr__(self) -> str:
        """The tree of layers, with numbers of parameters, and with the shapes of tensors."""
        from .outline import outline  # which stands above: it reads layers

        return outline(self)


# --- finding the state ------------------------------------------------------------------------------------------------


def parts_of(x: Any) -> Iterable[Named] | None:
    """The parts of a layer, dict, list or tuple by name; None for anything else."""
    if isinstance(x, Layer):
        return x._held()
    if isinstance(x, dict):
        return ((str(key), part) for key, part in x.items())
    return ((str(i), part) for i, part in enumerate(x)) if isinstance(x, (list, tuple)) else None


def directly_in(layer: Any, prefix: str = "") -> list[Named]:
    """What a layer, a list or a dict holds by dotted name, in order, with what is in its lists, tuples and dicts in
    their place; plain numbers, texts and arrays left out."""
    found: list[Named] = []
    seen: set[int] = set()
    left: list[Named] = [(prefix, layer)]
    while left:
        name, x = left.pop()
        parts = parts_of(x) if x is layer or not isinstance(x, Layer) else None
        if parts is None:
            found.append((name, x))
        elif id(x) not in seen:
            seen.add(id(x))
            inner = [
                (f"{name}.{part}" if name and part else name or part, y) for part, y in parts if type(y) not in PLAIN
            ]
            left += reversed(inner)
    return found


class Found(NamedTuple):
    """What a layer and the layers in it hold, each thing once, in order of attributes."""

    layers: list[Layer]  # the layer itself first
    tensors: list[tuple[str, Tensor]]  # parameters and buffers by dotted name
    others: list[tuple[Layer, Any]]  # and the layer that holds them

    @property
    def buffers(self) -> set[int]:
        """The ids of the tensors that are a buffer of some layer."""
        return {id(vars(x)[name]) for x in self.layers for name in x._buffers if name in vars(x)}


def search(root: Any, name: str = "") -> Found:
    """Find all that is in a layer, or in what an attribute of that name holds."""
    found = Found([], [], [])
    seen: set[int] = set()
    left: list[tuple[str, Any, Any]] = [(name, root, root)]
    while left:
        name, x, holder = left.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, Layer) or (x is root and parts_of(x) is not None):
            found.layers.extend([x] if isinstance(x, Layer) else [])
            left += reversed([(part, y, x) for part, y in directly_in(x, name)])
        elif leaf(x):
            found.tensors.append((name, x))
        else:
            found.others.append((holder, x))
    return found


def leaf(x: Any) -> bool:
    """Whether x is a Tensor that no op made."""
    return isinstance(x, Tensor) and x.op is None


def state_of(root: Layer) -> tuple[dict[str, Tensor], set[int]]:
    """Parameters and buffers by dotted name, and the ids of the buffers. Raises as `Layer` says."""
    found = search(root)
    tensors = dict(found.tensors)
    if len(tensors) < len(found.tensors):
        twice = Counter(name for name, _ in found.tensors).most_common(1)[0][0]
        raise ValueError(f"Layer: expected names that differ, got {twice} twice")
    check_shown(found.layers, found.others, {*map(id, tensors.values())})
    return tensors, found.buffers


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


def label(x: Any, name: str) -> None:
    """Give the tensors in an attribute their names in the whole for labels, "hidden.weight" for "weight"; a label of a
    user's own stays."""
    for path, tensor in search(x, name).tensors if type(x) not in PLAIN else ():
        if not tensor.label or path.endswith(f".{tensor.label}"):
            tensor.label = path


# --- training or not --------------------------------------------------------------------------------------------------


def switch(root: Layer, training: bool) -> None:
    for layer in search(root).layers:
        if layer.training is not training:  # setting an attribute makes recorded steps evaluate their guards
            layer.training = training


@contextmanager
def in_mode(root: Layer, training: bool) -> Iterator[None]:
    """Inside, the layer and all in it are in training or in evaluation; afterwards each is as it was."""
    before = [(layer, layer.training) for layer in search(root).layers]
    try:
        switch(root, training)
        yield
    finally:
        for layer, was in before:
            if layer.training is not was:
                layer.training = was
