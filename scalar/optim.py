"""Optimizers: what to do with a parameter's gradient."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .op import number
from .value import Value

# Added to a running sum at each step, so that where no gradient comes any more it does not fade into the subnormal
# numbers, which many processors take a hundred times longer for; far below the last bit of any other sum.
FLOOR = 2.0**20 * sys.float_info.min


def setting(x: Any, what: str, below: float = math.inf) -> Any:
    """x, a number from 0 to below `below`. Raises ValueError, or TypeError for no number, naming `what` it is."""
    if not 0.0 <= number(x, what) < below:
        raise ValueError(f"{what}: expected a number from 0 to below {below}, got {x}")
    return x


def parameters_of(given: Any, where: str) -> tuple[Value, ...]:
    """The parameters of a list, each once. Raises TypeError for anything else."""
    single = isinstance(given, Value) or not isinstance(given, Iterable)
    parameters = (given,) if single else tuple(given)
    wrong = [type(p).__name__ for p in parameters if single or not isinstance(p, Value)]
    if wrong:
        got = wrong[0] if single else f"one with {wrong[0]} in it"
        raise TypeError(f"{where}: expected a list of parameters, as model.parameters() is, got {got}")
    return tuple(dict.fromkeys(parameters))  # nodes are hashed by identity


class Optimizer:
    """What all optimizers share: the parameters and the learning rate `lr`, which may be set at any time.

    A parameter listed twice is moved once. One whose `requires_grad` is False is frozen: it stays as it is, and so does
    what is remembered of it.

    Raises TypeError for what is no list of parameters, and ValueError for a setting out of its range: `lr`, `momentum`,
    `eps` and `weight_decay` from 0, both `betas` from 0 to below 1.
    """

    def __init__(self, parameters: Iterable[Value], lr: float, weight_decay: float) -> None:
        name = type(self).__name__
        self.parameters = parameters_of(parameters, name)
        self.lr, self.weight_decay = setting(lr, f"{name}: lr"), setting(weight_decay, f"{name}: weight_decay")

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every parameter's gradient to 0."""
        for p in self.parameters:
            p.grad = 0.0

    def settings(self) -> dict[str, Any]:
        """The plain numbers that stay, by name."""
        raise NotImplementedError

    def memory(self) -> dict[str, list[float]]:
        """By name, what changes from step to step besides `lr`."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The settings, `lr`, and copies of what is remembered from step to step, each as one array (n,): the numbers
        of all parameters, in order.
        """
        arrays = {name: np.array(xs, np.float64) for name, xs in self.memory().items()}
        return {"settings": self.settings(), "lr": self.lr, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state dict of an optimizer of the same kind and settings, of either engine.

        Raises ValueError, and changes nothing, when names, settings or shapes are others; TypeError for no numbers.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected the names {sorted(own)}, got {sorted(state)}")
        if own["settings"] != state["settings"]:
            raise ValueError(f"load_state_dict: expected the settings {own['settings']}, got {state['settings']}")
        lr = number(state["lr"], "load_state_dict: lr")
        arrays = {name: np.asarray(state[name]) for name in self.memory()}
        for name, array in arrays.items():
            if array.dtype.kind not in "fiu":
                raise TypeError(f"load_state_dict: {name}: expected a real number, got {array.dtype.name}")
            if own[name].shape != array.shape:
                raise ValueError(f"load_state_dict: {name}: expected shape {own[name].shape}, got {array.shape}")
        self.lr = lr
        for name, xs in self.memory().items():
            xs[:] = arrays[name].astype(float).tolist()


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr g, with momentum p -= lr v where v = momentum v + g.

    Nesterov's form looks ahead: p -= lr (g + momentum v). `weight_decay` adds weight_decay p to each gradient.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if nesterov and not momentum:
            raise ValueError("SGD: expected a momentum above 0 with nesterov=True, got 0")
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = setting(momentum, "SGD: momentum"), nesterov
        self.velocity = [0.0] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            if self.momentum:
                v = self.velocity[i] = self.momentum * self.velocity[i] + g + FLOOR
                g = g + self.momentum * v if self.nesterov else v
            p.data -= self.lr * g

    def settings(self) -> dict[str, Any]:
        """The kind, momentum, nesterov and weight_decay."""
        kept = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept}

    def memory(self) -> dict[str, list[float]]:
        """The velocities, with momentum."""
        return {"velocity": self.velocity} if self.momentum else {}


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): p -= lr m / (sqrt(v) + eps), where m and v are running means of g and g^2, corrected
    for their start at 0.

    `weight_decay` adds weight_decay p to each gradient. Kept are the sums M = beta1 M + g and V = beta2 V + g^2. Then
    m = M (1 - beta1) / (1 - beta1^t) and v = V / c^2 with c^2 = (1 - beta2^t) / (1 - beta2), so that the step is
    lr c (1 - beta1) / (1 - beta1^t) times M / (sqrt(V) + c eps): two numbers a step and fewer passes over the arrays.
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        name = type(self).__name__
        if np.shape(betas) != (2,):
            raise ValueError(f"{name}: expected two betas, got {betas}")
        self.betas, self.eps = (betas[0], betas[1]), setting(eps, f"{name}: eps")
        for beta in betas:
            setting(beta, f"{name}: betas", below=1.0)
        self.sums = [0.0] * len(self.parameters)
        self.squares = [0.0] * len(self.parameters)
        self.powers = [1.0, 1.0]  # beta^t for both betas

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        beta1, beta2 = self.betas
        self.powers = [self.powers[0] * beta1, self.powers[1] * beta2]
        c = math.sqrt((1.0 - self.powers[1]) / (1.0 - beta2))
        rate = self.lr * c * (1.0 - beta1) / (1.0 - self.powers[0])
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            g = p.grad
            if self.weight_decay and self.decoupled:
                p.data *= 1.0 - self.lr * self.weight_decay
            elif self.weight_decay:
                g = g + self.weight_decay * p.data
            self.sums[i] = beta1 * self.sums[i] + g + FLOOR
            self.squares[i] = beta2 * self.squares[i] + g * g + FLOOR
            p.data -= rate * (self.sums[i] / (math.sqrt(self.squares[i]) + c * self.eps))

    def settings(self) -> dict[str, Any]:
        """The kind, both betas, eps and weight_decay."""
        kept = {"betas": list(self.betas), "eps": self.eps, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept}

    def memory(self) -> dict[str, list[float]]:
        """The sums, the squares, and beta^t for both betas."""
        return {"sums": self.sums, "squares": self.squares, "powers": self.powers}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p *= 1 - lr weight_decay, apart from g."""

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
