"""Models to and from other programs: safetensors files, PyTorch's state dicts, ONNX.

A layer's tensors have other names and orders of axes in PyTorch: `LAYOUTS` says which, by class. To teach it another
layer is one entry. ONNX has a writer for each layer, in `WRITERS`, by class; other classes are refused by name.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import files, nn
from .nn.base import Layer, search
from .nn.hidden import name_of
from .op import Op
from .training import Sequential

__all__ = ["from_torch", "load_safetensors", "save_safetensors", "to_onnx", "to_torch"]

# --- safetensors ------------------------------------------------------------------------------------------------------


def save_safetensors(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write a state dict to a .safetensors file, whole or not at all. Needs the package safetensors. Raises OSError
    with the path."""
    from safetensors.numpy import save

    files.write(path, save({name: np.ascontiguousarray(x) for name, x in state.items()}))


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a state dict from a .safetensors file. Raises ValueError naming the file where it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(os.fspath(path))
    except SafetensorError as problem:
        raise ValueError(f"{os.fspath(path)}: expected a safetensors file, got a damaged one: {problem}") from problem


# --- PyTorch ----------------------------------------------------------------------------------------------------------

Layout = tuple[str, tuple[int, ...] | None]  # PyTorch's name, and the axes of ours that its axes are, in order
TURNED, BIAS = (1, 0), ("bias", None)
KERNEL, ROW = (3, 2, 0, 1), (2, 1, 0)
SCALED: dict[str, Layout] = {"weight": ("weight", None), "bias": BIAS}
RECURRENT: dict[str, Layout] = {
    "weight": ("weight_ih_l0", TURNED),
    "recurrent": ("weight_hh_l0", TURNED),
    "bias": ("bias_ih_l0", None),
    "recurrent_bias": ("bias_hh_l0", None),
}
LAYOUTS: dict[type[Layer], dict[str, Layout]] = {
    nn.Dense: {"weight": ("weight", TURNED), "bias": BIAS},
    nn.Conv2D: {"weight": ("weight", KERNEL), "bias": BIAS},
    nn.Conv1D: {"weight": ("weight", ROW), "bias": BIAS},
    nn.BatchNorm: {**SCALED, "mean": ("running_mean", None), "variance": ("running_var", None)},
    nn.LayerNorm: SCALED,
    nn.RMSNorm: SCALED,
    nn.GroupNorm: SCALED,
    nn.Embedding: {"weight": ("weight", None)},
    nn.SimpleRNN: RECURRENT,
    nn.GRU: RECURRENT,
    nn.LSTM: RECURRENT,
}
ATTENTION = {"project": ("in_proj_weight", "in_proj_bias"), "output": ("out_proj.weight", "out_proj.bias")}


class Place(NamedTuple):
    """A tensor of a model here and in PyTorch."""

    name: str  # here, dotted
    there: str  # behind that prefix
    axes: tuple[int, ...] | None


def places(model: Layer) -> list[list[Place]]:
    """The tensors of a model, in lists, one for each layer that has a prefix in PyTorch."""
    named = {id(x): name for name, x in search(model).tensors}
    parts: dict[int, tuple[int, tuple[str, str]]] = {}  # the layers within an attention
    groups: dict[int, list[Place]] = {}
    for layer in search(model).layers:
        if isinstance(layer, nn.MultiHeadAttention):
            parts |= {id(getattr(layer, part)): (id(layer), names) for part, names in ATTENTION.items()}
        for name, x in vars(layer).items():
            if id(x) not in named:
                continue
            if type(layer) not in LAYOUTS:
                kind = type(layer).__name__
                raise TypeError(
                    f"PyTorch: expected layers that are known, got {kind}; add it to vector.exchange.LAYOUTS"
                )
            there, axes = LAYOUTS[type(layer)][name]
            owner, names = parts.get(id(layer), (id(layer), (there, there)))
            groups.setdefault(owner, []).append(Place(named.pop(id(x)), names[name == "bias"], axes))
    return [*groups.values()]


def to_torch(model: Layer, prefixes: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The state dict of a model as PyTorch's layers of the same kinds have theirs: names of tensors, and order of axes.

    Each layer with tensors gets a prefix, "0", "1", ... in order, or those given, such as "encoder.fc1". Attention is
    one layer. `{name: torch.from_numpy(x) for name, x in to_torch(model).items()}` is what `load_state_dict` takes;
    PyTorch's batch norm counts its batches as well: `strict=False`. Raises TypeError for a layer that is not known, and
    ValueError for another number of prefixes.
    """
    state, groups = model.state_dict(), places(model)
    names = [str(i) for i in range(len(groups))] if prefixes is None else list(prefixes)
    if len(names) != len(groups):
        raise ValueError(
            f"to_torch: expected {len(groups)} prefixes, one for each layer with tensors, got {len(names)}"
        )
    return {
        f"{prefix}.{place.there}" if prefix else place.there: np.ascontiguousarray(
            state[place.name] if place.axes is None else state[place.name].transpose(place.axes)
        )
        for prefix, group in zip(names, groups, strict=True)
        for place in group
    }


def from_torch(model: Layer, state: Mapping[str, Any], prefixes: Sequence[str] | None = None) -> None:
    """Give a model the numbers of a state dict of PyTorch's, whose layers are of the same kinds and come in the same
    order: tensors or arrays by name. With `prefixes` each layer with tensors is looked for by its own.

    Raises ValueError, and changes nothing, where names or shapes do not fit; TypeError for a layer that is not known.
    """
    given = {name: np.asarray(x.detach().cpu() if hasattr(x, "detach") else x) for name, x in state.items()}
    given = {name: x for name, x in given.items() if not name.endswith("num_batches_tracked")}
    if prefixes is None:
        prefixes = [*dict.fromkeys(prefix_of(name) for name in given)]
    wanted = to_torch(model, prefixes if len(prefixes) else None)
    if wanted.keys() != given.keys():
        raise ValueError(f"from_torch: expected the names {sorted(wanted)}, got {sorted(given)}")
    for name, x in wanted.items():
        if x.shape != given[name].shape:
            raise ValueError(f"from_torch: {name}: expected shape {x.shape}, got {given[name].shape}")
    own = model.state_dict()
    for prefix, group in zip(prefixes, places(model), strict=True):
        for place in group:
            x = given[f"{prefix}.{place.there}" if prefix else place.there]
            own[place.name] = x if place.axes is None else x.transpose(np.argsort(place.axes))
    model.load_state_dict(own)


def prefix_of(name: str) -> str:
    """What stands before the names of a layer's tensors, of which attention has some in two parts."""
    for end in itertools.chain(*ATTENTION.values()):
        if name == end or name.endswith(f".{end}"):
            return name[: -len(end)].rstrip(".")
    return name.rpartition(".")[0]


# --- ONNX -------------------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    **{name: name.capitalize() for name in ("relu", "sigmoid", "tanh", "softplus", "exp", "sqrt", "abs", "sin", "cos")},
    "elu": "Elu", "selu": "Selu", "softsign": "Softsign", "log": "Log", "leaky_relu": "LeakyRelu",
}  # fmt: skip


class Graph:
    """An ONNX graph under way: each call of `node` adds one and gives the name of its result."""

    def __init__(self, axes: int) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.axes = {"input": axes}  # how many each result has

    def node(self, kind: str, *inputs: Any, axes: int | None = None, **attributes: Any) -> str:
        """A node of `kind`. Arrays among the inputs become constants. The result has as many axes as the first other
        input, unless told."""
        from onnx import helper, numpy_helper

        names: list[str] = []
        for x in inputs:
            if isinstance(x, np.ndarray):
                self.constants.append(numpy_helper.from_array(x, f"constant{len(self.constants)}"))
                x = self.constants[-1].name
            names.append(x)
        out = f"result{len(self.nodes)}"
        self.axes[out] = next(self.axes[x] for x in names if x in self.axes) if axes is None else axes
        self.nodes.append(helper.make_node(kind, names, [out], **attributes))
        return out

    def activation(self, function: Any, x: str) -> str:
        """A layer's activation. Raises TypeError for a function that ONNX has no name for."""
        name = function.name if isinstance(function, Op) else name_of(function)
        if name in ("softmax", "log_softmax"):
            return self.node("Softmax" if name == "softmax" else "LogSoftmax", x, axis=-1)
        if name not in ACTIVATIONS:
            raise TypeError(f"to_onnx: expected an activation out of {', '.join(sorted(ACTIVATIONS))}, got {name}")
        return self.node(ACTIVATIONS[name], x)  # leaky_relu's slope is 0.01 there, too

    def layer(self, layer: Any, x: str) -> str:
        """What a layer, or a function of a Sequential, makes of x."""
        for kind, write in WRITERS.items():
            if type(layer) is kind:
                return write(self, layer, x)
        if isinstance(layer, Op) or not isinstance(layer, Layer):
            return self.activation(layer, x)
        known = ", ".join(sorted(kind.__name__ for kind in WRITERS))
        raise TypeError(f"to_onnx: expected layers out of {known}, got {type(layer).__name__}")


def shape(*lengths: int) -> np.ndarray:
    return np.array(lengths, np.int64)


def write_dense(graph: Graph, layer: Any, x: str) -> str:
    """x W + b, and the activation."""
    out = graph.node("MatMul", x, layer.weight.data)
    out = out if layer.bias is None else graph.node("Add", out, layer.bias.data)
    return out if layer.activation is None else graph.activation(layer.activation, out)


def two(x: int | Sequence[int]) -> list[int]:
    """A number for each of two axes."""
    return [x, x] if isinstance(x, int) else [*x]


def write_convolution(graph: Graph, layer: Any, x: str) -> str:
    """A convolution, whose channels ONNX has first."""
    if graph.axes[x] == 3:  # images without an axis of channels
        x = graph.node("Unsqueeze", x, shape(-1), axes=4)
    same = layer.padding == "same"
    around: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if same else {"pads": two(layer.padding) * 2}
    given = [layer.weight.data.transpose(KERNEL).copy(), *([] if layer.bias is None else [layer.bias.data])]
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    strides, dilations = two(layer.stride), two(layer.dilation)
    x = graph.node("Conv", x, *given, strides=strides, dilations=dilations, group=layer.groups, **around)
    x = graph.node("Transpose", x, perm=[0, 2, 3, 1])
    return x if layer.activation is None else graph.activation(layer.activation, x)


def write_pool(graph: Graph, layer: Any, x: str) -> str:
    """Pooling, whose channels ONNX has first."""
    size = two(layer.size)
    stride, padding = size if layer.stride is None else two(layer.stride), two(layer.padding)
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    kind = "MaxPool" if type(layer) is nn.MaxPool else "AveragePool"
    more = {} if kind == "MaxPool" else {"count_include_pad": 1}
    x = graph.node(kind, x, kernel_shape=size, strides=stride, pads=padding * 2, **more)
    return graph.node("Transpose", x, perm=[0, 2, 3, 1])


def write_batch_norm(graph: Graph, layer: Any, x: str) -> str:
    """As it is after `eval()`: one product and one sum."""
    scale = layer.weight.data / np.sqrt(layer.variance.data + layer.eps)
    shift = layer.bias.data - layer.mean.data * scale
    dtype = layer.weight.dtype
    return graph.node("Add", graph.node("Mul", x, scale.astype(dtype)), shift.astype(dtype))


def write_layer_norm(graph: Graph, layer: Any, x: str) -> str:
    """One node."""
    return graph.node("LayerNormalization", x, layer.weight.data, layer.bias.data, axis=-1, epsilon=layer.eps)


def write_mean(graph: Graph, layer: Any, x: str) -> str:
    """The mean over all axes between the first and the last."""
    return graph.node("ReduceMean", x, shape(*range(1, graph.axes[x] - 1)), axes=2, keepdims=0)


def write_stack(graph: Graph, layer: Any, x: str) -> str:
    """One layer after the other."""
    for inner in layer.layers:
        x = graph.layer(inner, x)
    return x


WRITERS: dict[type[Any], Callable[[Graph, Any, str], str]] = {
    nn.Dense: write_dense,
    nn.Conv2D: write_convolution,
    nn.MaxPool: write_pool,
    nn.AvgPool: write_pool,
    nn.BatchNorm: write_batch_norm,
    nn.LayerNorm: write_layer_norm,
    nn.Flatten: lambda graph, layer, x: graph.node("Flatten", x, axis=1, axes=2),
    nn.Dropout: lambda graph, layer, x: x,
    nn.Reshape: lambda graph, layer, x: graph.node("Reshape", x, shape(0, *layer.shape), axes=len(layer.shape) + 1),
    nn.Embedding: lambda graph, layer, x: graph.node("Gather", layer.weight.data, x, axes=graph.axes[x] + 1),
    nn.GlobalAveragePool: write_mean,
    Sequential: write_stack,
    nn.Lambda: lambda graph, layer, x: graph.activation(layer.function, x),
    nn.Residual: lambda graph, layer, x: graph.node("Add", x, write_stack(graph, layer, x)),
}


def to_onnx(model: Any, path: str | os.PathLike[str], sample: Sequence[int], dtype: Any = None) -> None:
    """Write a Sequential, as it computes after `eval()`, to an ONNX file, whole or not at all. Needs the package onnx.

    sample  the shape of one sample, such as (28, 28): the file takes any number of them, (n, 28, 28)
    dtype   of the input: the parameters', or an integer one for class numbers

    The input is called "input", the result "output". Raises TypeError naming a layer or activation that is not known.
    """
    from onnx import checker, helper

    if not isinstance(model, Sequential):
        raise TypeError(f"to_onnx: expected a Sequential, got {type(model).__name__}")
    graph, own = Graph(len(sample) + 1), model.parameters()[0].dtype
    out = graph.layer(model, "input")
    graph.nodes.append(helper.make_node("Identity", [out], ["output"]))
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in (own if dtype is None else dtype, own)]
    given = helper.make_tensor_value_info("input", kinds[0], ["n", *sample])
    result = helper.make_tensor_value_info("output", kinds[1], ["n", *[None] * (graph.axes[out] - 1)])
    whole = helper.make_model(
        helper.make_graph(graph.nodes, "twograd", [given], [result], graph.constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    checker.check_model(whole)
    files.write(path, whole.SerializeToString())
