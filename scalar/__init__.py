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
from .losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    cross_entropy,
    focal,
    huber,
    kl_divergence,
    l1,
    log_softmax,
    mse,
    softmax,
    triplet,
)
from .op import OPS, op
from .ops import *  # noqa: F403  (every op of the page)
from .transforms import hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .value import Value

__all__ = [
    "Value",
    "backward_steps",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "cross_entropy",
    "detect_anomaly",
    "focal",
    "grad",
    "gradcheck",
    "hessian",
    "huber",
    "hvp",
    "jacobian",
    "jvp",
    "kl_divergence",
    "l1",
    "log_softmax",
    "mse",
    "nn",
    "no_grad",
    "op",
    "optim",
    "softmax",
    "topological_order",
    "triplet",
    "value_and_grad",
    "vjp",
]
__all__ += OPS
__all__.sort()
