"""Reverse-mode automatic differentiation on numpy arrays, with the meaning of `scalar`.

>>> import numpy as np, vector
>>> x = vector.Tensor([[1.0, 2.0], [3.0, 4.0]])
>>> loss = vector.mean(np.tanh(x @ [0.5, -0.5]))
>>> loss.backward()
>>> print(f"{loss.item():.4f}", x.grad[0].round(4))
-0.4621 [ 0.1966 -0.1966]
"""

from . import checkpoint, datasets, nn, optim
from .anomaly import detect_anomaly
from .autodiff import backward_steps, grad, gradcheck, no_grad, topological_order
from .compile import compile
from .losses import categorical_cross_entropy, cross_entropy, mse
from .ops import (
    abs,
    add,
    broadcast_to,
    clip,
    concatenate,
    cos,
    divide,
    dot,
    exp,
    leaky_relu,
    log,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    power,
    relu,
    reshape,
    sigmoid,
    sin,
    softmax,
    softplus,
    sqrt,
    stack,
    subtract,
    sum,
    take,
    tanh,
    transpose,
    where,
)
from .tensor import Tensor

__all__ = [
    "Tensor",
    "abs",
    "add",
    "backward_steps",
    "broadcast_to",
    "categorical_cross_entropy",
    "checkpoint",
    "clip",
    "compile",
    "concatenate",
    "cos",
    "cross_entropy",
    "datasets",
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
    "matmul",
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
    "reshape",
    "sigmoid",
    "sin",
    "softmax",
    "softplus",
    "sqrt",
    "stack",
    "subtract",
    "sum",
    "take",
    "tanh",
    "topological_order",
    "transpose",
    "where",
]
