"""Optimizers: what to do with a parameter's gradient."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .op import number
from .value import Value

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "clip_norm", "clip_value"]

# Added to a running sum at each step, so that where no gradient comes any more it does not fade into the subnormal
# numbers, which many processors take a hundred times longer for; far below the last bit of any other sum.
FLOOR = 2.0**20 * sys.float_info.min


def setting(x: Any, what: str, below: float = math.inf) -> Any:
    """x, a number from 0 to below `below`. Raises ValueError, or TypeError for no number, naming `what` it is."""
    if not 0.0 <= number(x, what) < below:
        raise ValueError(f"{what}: expected a number from 0 to below {below}, got {x}")
    return x


def two_betas(betas: Any, where: str) -> tuple[float, float]:
    """Two numbers from 0 to below 1. Raises ValueError for anything else."""
    if np.shape(betas) != (2,):
        raise ValueError(f"{where}: expected two betas, got {betas}")
    return setting(betas[0], f"{where}: betas", below=1.0), setting(betas[1], f"{where}: betas", below=1.0)


def parameters_of(given: Any, where: str) -> tuple[Value, ...]:
    """The parameters of a list, each once. Raises TypeError for anything else."""
    single = isinstance(given, Value) or not isinstance(given, Iterable)
    parameters = (given,) if single else tuple(given)
    wrong = [type(p).__name__ for p in parameters if single or not isinstance(p, Value)]
    if wrong:
        got = wrong[0] if single else f"one with {wrong[0]} in it"
        raise TypeError(f"{where}: expected a list of parameters, as model.parameters() is, got {got}")
    return tuple(dict.fromkeys(parameters))  # nodes are hashed by identity


def unfrozen(parameters: Iterable[Value]) -> Iterator[tuple[int, Value]]:
    """The parameters that are not frozen, and their places. A gradient of None, as others zero it, becomes 0."""
    for i, p in enumerate(parameters):
        if p.requires_grad:
            p.grad = p.grad or 0.0
            yield i, p


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
        for i, p in unfrozen(self.parameters):
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
    With `amsgrad` the largest V so far stands for V (Reddi et al., 2018).
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        name = type(self).__name__
        self.betas, self.eps, self.amsgrad = two_betas(betas, name), setting(eps, f"{name}: eps"), amsgrad
        self.sums = [0.0] * len(self.parameters)
        self.squares = [0.0] * len(self.parameters)
        self.largest = [0.0] * len(self.parameters)
        self.powers = [1.0, 1.0]  # beta^t for both betas

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        beta1, beta2 = self.betas
        self.powers = [self.powers[0] * beta1, self.powers[1] * beta2]
        c = math.sqrt((1.0 - self.powers[1]) / (1.0 - beta2))
        rate = self.lr * c * (1.0 - beta1) / (1.0 - self.powers[0])
        for i, p in unfrozen(self.parameters):
            g = p.grad
            if self.weight_decay and self.decoupled:
                p.data *= 1.0 - self.lr * self.weight_decay
            elif self.weight_decay:
                g = g + self.weight_decay * p.data
            self.sums[i] = beta1 * self.sums[i] + g + FLOOR
            v = self.squares[i] = beta2 * self.squares[i] + g * g + FLOOR
            if self.amsgrad:
                v = self.largest[i] = max(self.largest[i], v)
            p.data -= rate * (self.sums[i] / (math.sqrt(v) + c * self.eps))

    def settings(self) -> dict[str, Any]:
        """The kind, both betas, eps and weight_decay, and amsgrad where it is set."""
        kept = {"betas": list(self.betas), "eps": self.eps, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept, **({"amsgrad": True} if self.amsgrad else {})}

    def memory(self) -> dict[str, list[float]]:
        """The sums, the squares (with amsgrad the largest, too), and beta^t for both betas."""
        largest = {"largest": self.largest} if self.amsgrad else {}
        return {"sums": self.sums, "squares": self.squares, **largest, "powers": self.powers}


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
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, amsgrad)


class RMSprop(Optimizer):
    """RMSprop (Hinton, 2012): p -= lr g / (sqrt(v) + eps), with the running mean v = decay v + (1 - decay) g^2.

    With momentum p -= lr u where u = momentum u + g / (sqrt(v) + eps). `weight_decay` adds weight_decay p to each g.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-2,
        decay: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.decay, self.eps = setting(decay, "RMSprop: decay", below=1.0), setting(eps, "RMSprop: eps")
        self.momentum = setting(momentum, "RMSprop: momentum")
        self.squares = [0.0] * len(self.parameters)
        self.velocity = [0.0] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        for i, p in unfrozen(self.parameters):
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            v = self.squares[i] = self.decay * self.squares[i] + (1.0 - self.decay) * (g * g) + FLOOR
            g = g / (math.sqrt(v) + self.eps)
            if self.momentum:
                g = self.velocity[i] = self.momentum * self.velocity[i] + g
            p.data -= self.lr * g

    def settings(self) -> dict[str, Any]:
        """The kind, decay, eps, momentum and weight_decay."""
        kept = {"decay": self.decay, "eps": self.eps, "momentum": self.momentum, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept}

    def memory(self) -> dict[str, list[float]]:
        """The squares, and with momentum the velocities."""
        return {"squares": self.squares, **({"velocity": self.velocity} if self.momentum else {})}


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011): p -= lr g / (sqrt(v) + eps) with the sum of all squares so far, v += g^2.

    `weight_decay` adds weight_decay p to each gradient.
    """

    def __init__(
        self, parameters: Iterable[Value], lr: float = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.eps, self.squares = setting(eps, "Adagrad: eps"), [0.0] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        for i, p in unfrozen(self.parameters):
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            self.squares[i] += g * g
            p.data -= self.lr * (g / (math.sqrt(self.squares[i]) + self.eps))

    def settings(self) -> dict[str, Any]:
        """The kind, eps and weight_decay."""
        return {"kind": type(self).__name__, "eps": self.eps, "weight_decay": self.weight_decay}

    def memory(self) -> dict[str, list[float]]:
        """The sums of squares."""
        return {"squares": self.squares}


class Lion(Optimizer):
    """Lion (Chen et al., 2023): p *= 1 - lr weight_decay, p -= lr sign(beta1 m + (1 - beta1) g), and then
    m = beta2 m + (1 - beta2) g."""

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas, self.means = two_betas(betas, "Lion"), [0.0] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        beta1, beta2 = self.betas
        for i, p in unfrozen(self.parameters):
            direction = float(np.sign(beta1 * self.means[i] + (1.0 - beta1) * p.grad))
            if self.weight_decay:
                p.data *= 1.0 - self.lr * self.weight_decay
            p.data -= self.lr * direction
            self.means[i] = beta2 * self.means[i] + (1.0 - beta2) * p.grad

    def settings(self) -> dict[str, Any]:
        """The kind, both betas and weight_decay."""
        return {"kind": type(self).__name__, "betas": list(self.betas), "weight_decay": self.weight_decay}

    def memory(self) -> dict[str, list[float]]:
        """The running means."""
        return {"means": self.means}


# --- between the backward pass and a step -----------------------------------------------------------------------------


def clip_norm(parameters: Iterable[Value], limit: float) -> float:
    """Scale all gradients by limit / (norm + 1e-6) where their norm, the root of the sum of all squares, is larger than
    `limit`. Call it between `backward()` and `step()`. Returns the norm before."""
    wanted = [p for _, p in unfrozen(parameters_of(parameters, "clip_norm"))]
    norm = math.sqrt(sum(p.grad * p.grad for p in wanted))
    scale = min(setting(limit, "clip_norm: limit") / (norm + 1e-6), 1.0)
    for p in wanted:
        p.grad *= scale
    return norm


def clip_value(parameters: Iterable[Value], limit: float) -> None:
    """Keep each gradient between -limit and limit. Call it between `backward()` and `step()`."""
    setting(limit, "clip_value: limit")
    for _, p in unfrozen(parameters_of(parameters, "clip_value")):
        p.grad = min(max(p.grad, -limit), limit)
