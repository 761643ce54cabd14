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
IMAGE, PARTS, WHOLE = (1, 2, 2, 1), (1, 2, 2, 1, 1, 1), {"size": (2, 2), "stride": (2, 2)}
ONE = {"size": (1, 1), "stride": (1, 1)}
PLACES = {"padding": ((0, 0), (0, 0)), "stride": (1, 1), "dilation": (1, 1)}
VECTOR |= {
    "avg_pool": WHOLE,
    "avg_share": ONE | {"lengths": (2, 2)},
    "conv": PLACES,
    "conv_input": PLACES | {"size": (2, 2)},
    "conv_weight": PLACES | {"size": (1, 1)},
    "fold": {"size": (2, 2), "stride": (1, 1), "dilation": (1, 1)},
    "max_chosen": ONE | {"images": np.zeros(IMAGE), "top": np.zeros(IMAGE)},
    "max_pool": WHOLE,
    "max_share": ONE | {"images": np.zeros(IMAGE), "top": np.zeros(IMAGE)},
    "norm": {"ord": 2.0},
    "unfold": ONE | {"dilation": (1, 1)},
}
SHAPES = {name: [IMAGE, IMAGE] for name in VECTOR if "stride" in VECTOR[name]}
SHAPES |= {"conv": [IMAGE, (1, 1, 1, 4)], "conv_input": [IMAGE, (1, 1, 4, 1)], "fold": [PARTS]}
MATRICES = {"cholesky", "cofactor", "det", "eigh", "inv", "norm", "qr", "slogdet", "solve", "svd"}  # far from singular
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
    for name, op in vector.ops.OPS.items():
        arrays = [np.array(DATA).reshape(2, 2) + i for i in range(3 if op.over else len(op.rules))]
        arrays = list(map(DOMAINS[name], arrays)) if name in DOMAINS else arrays
        inputs = [vector.Tensor(x, label) for x, label in zip(arrays, "ABC", strict=False)]
        for i, x in enumerate(inputs):
            x.data = x.data.reshape(SHAPES[name][i]) if name in SHAPES else x.data
            x.data += 3.0 * np.eye(2) if name in MATRICES else 0.0
        nodes[name] = vector.Tensor.apply(
            op, inputs, op.defaults | VECTOR[name] if name in VECTOR else params(op) or None
        )
    return nodes


NO_COUNTERPART = {"scatter", "standardize", "cumprod", "cumsum", "prod", "std", "var", *MATRICES, *SHAPES}
