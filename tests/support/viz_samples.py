"""A small node of every op of both engines, found from the op tables, for the tests of the pictures."""

import inspect

import numpy as np

import scalar
import vector

SETTINGS = {
    "low": -1.0,
    "high": 1.0,
    "condition": True,
    "shape": (4,),
    "dtype": np.dtype(np.float32),
    "key": (0,),
    "axis": 0,
    "hot": np.eye(2),
    "classes": np.arange(2),
}
VECTOR = {
    "where": {"condition": np.eye(2, dtype=bool)},
    "broadcast_to": {"shape": (3, 2, 2)},
    "concatenate": {"axis": 0},
}
VECTOR |= {"scatter": {"key": (slice(None), [0, 1]), "shape": (2, 3)}}
DATA = [0.25, 0.5, -0.75, 1.5]
# What brings a number into an op's domain.
DOMAINS = {
    **dict.fromkeys(("log", "log2", "log10", "log1p", "sqrt", "power"), abs),
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), lambda x: x / (1.0 + abs(x))),
    "arccosh": lambda x: 1.0 + abs(x),
}


def params(op) -> dict:
    """Settings for an op: its own defaults, else from the tables above. A new op may need a line there."""
    return {
        name: SETTINGS[name] if default is inspect.Parameter.empty else default for name, default in op.defaults.items()
    }


def scalar_nodes(data=DATA) -> dict[str, scalar.Value]:
    """A node of every op of the scalar engine, of inputs a, b, c, d."""
    nodes = {}
    for name, op in scalar.ops.OPS.items():
        numbers = map(DOMAINS[name], data) if name in DOMAINS else data
        inputs = [scalar.Value(x, label) for x, label in zip(numbers, "abcd", strict=True)][
            : 4 if op.over else len(op.rules)
        ]
        nodes[name] = scalar.Value.apply(op, inputs, params(op) or None)
    return nodes


def vector_nodes() -> dict[str, vector.Tensor]:
    """A node of every op of the vector engine, of two-by-two inputs A, B, C."""
    nodes = {}
    for name, op in vector.op.OPS.items():
        arrays = [np.array(DATA).reshape(2, 2) + i for i in range(3 if op.over else len(op.rules))]
        arrays = list(map(DOMAINS[name], arrays)) if name in DOMAINS else arrays
        inputs = [vector.Tensor(x, label) for x, label in zip(arrays, "ABC", strict=False)]
        nodes[name] = vector.Tensor.apply(op, inputs, VECTOR.get(name, params(op)) or None)
    return nodes


NO_COUNTERPART = {"scatter", "cumprod", "cumsum", "prod", "std", "var"}
