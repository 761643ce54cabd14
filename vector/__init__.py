"""Reverse-mode automatic differentiation on numpy arrays, with the meaning of `scalar`.

>>> import numpy as np, vector
>>> x = vector.Tensor([[1.0, 2.0], [3.0, 4.0]])
>>> loss = vector.mean(np.tanh(x @ [0.5, -0.5]))
>>> loss.backward()
>>> print(f"{loss.item():.4f}", x.grad[0].round(4))
-0.4621 [ 0.1966 -0.1966]
"""

from typing import Any

from . import checkpoint, datasets, nn, ops, optim
from .anomaly import detect_anomaly
from .autodiff import backward_steps, grad, no_grad, topological_order
from .errors import RecordingError
from .gradcheck import gradcheck
from .losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    cross_entropy,
    focal,
    huber,
    kl_divergence,
    l1,
    mse,
    triplet,
)
from .op import op
from .ops import *  # noqa: F403  (every op that is not another one's inside)
from .tensor import Tensor
from .training import EarlyStopping, Sequential, find_lr
from .transforms import hessian, hvp, jacobian, jvp, per_sample_grads, remat, value_and_grad, vjp

setattr(nn, "Sequential", Sequential)  # noqa: B010  (it stands above the layers: it trains)

__all__ = [
    "EarlyStopping",
    "RecordingError",
    "Tensor",
    "backward_steps",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "checkpoint",
    "compile",
    "cross_entropy",
    "datasets",
    "detect_anomaly",
    "find_lr",
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
    "mse",
    "nn",
    "no_grad",
    "op",
    "optim",
    "per_sample_grads",
    "remat",
    "topological_order",
    "triplet",
    "value_and_grad",
    "vjp",
]
__all__ += ops.__all__
__all__.sort()


def __getattr__(name: str) -> Any:
    """The compiler is loaded by who asks for it."""
    if name == "compile":
        from .compiler import compile

        return compile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
