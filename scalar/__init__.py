"""Reverse-mode automatic differentiation, one number at a time.

>>> from scalar import Value, tanh
>>> a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.5, "c")
>>> out = tanh(a * b + c)
>>> out.backward()
>>> print(f"{out.data:.4f}  {a.grad:.4f} {b.grad:.4f} {c.grad:.4f}")
0.4621  -2.3593 1.5729 0.7864
"""

from . import nn, optim
from .anomaly import detect_anomaly
from .autodiff import backward_steps, grad, gradcheck, no_grad, topological_order
from .losses import categorical_cross_entropy, cross_entropy, log_softmax, mse, softmax
from .ops import (
    abs,
    add,
    clip,
    cos,
    divide,
    dot,
    exp,
    leaky_relu,
    log,
    logsumexp,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    subtract,
    sum,
    tanh,
    where,
)
from .value import Value

__all__ = [
    "Value",
    "abs",
    "add",
    "backward_steps",
    "categorical_cross_entropy",
    "clip",
    "cos",
    "cross_entropy",
    "detect_anomaly",
    "divide",
    "dot",
    "exp",
    "grad",
    "gradcheck",
    "leaky_relu",
    "log",
    "log_softmax",
    "logsumexp",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse",
    "multiply",
    "negative",
    "nn",
    "no_grad",
    "optim",
    "power",
    "relu",
    "sigmoid",
    "sin",
    "softmax",
    "softplus",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "topological_order",
    "where",
]
