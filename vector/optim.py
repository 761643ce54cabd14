"""Optimizers: what to do with a parameter's gradient. The schedules are here by their public path.

All that changes from step to step (velocities, powers of beta, the learning rate) is held in tensors, so that a
recorded step goes on from where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .epoch import Guarded
from .op import array, number
from .runtime.memory import side_by_side
from .schedules import Schedule as Schedule
from .schedules import constant as constant
from .schedules import cosine as cosine
from .schedules import stepped as stepped
from .tensor import Tensor


def states(arrays: Iterable[Any], labels: Iterable[str]) -> tuple[Tensor, ...]:
    return tuple([Tensor(x, label, requires_grad=False) for x, label in zip(side_by_side(arrays), labels, strict=True)])


def floor(dtype: Any) -> float:
    """What to add to a running sum at each step, so that where no gradient comes any more it does not fade into the
    subnormal numbers, which many processors take a hundred times longer for: 2^20 times the smallest normal number, far
    below the last bit of any other sum. A parameter whose gradient is always 0 moves by so little, too.
    """
    return 2.0**20 * float(np.finfo(dtype).tiny)


def setting(x: Any, what: str, below: float = math.inf) -> Any:
    """x, a number from 0 to below `below`. Raises ValueError, or TypeError for no number, naming `what` it is."""
    if not 0.0 <= number(x, what) < below:
        raise ValueError(f"{what}: expected a number from 0 to below {below}, got {x}")
    return x


def parameters_of(given: Any, where: str) -> tuple[Tensor, ...]:
    """The parameters of a list, each once. Raises TypeError for anything else."""
    single = isinstance(given, Tensor) or not isinstance(given, Iterable)
    parameters = (given,) if single else tuple(given)
    wrong = [type(p).__name__ for p in parameters if single or not isinstance(p, Tensor)]
    if wrong:
        got = wrong[0] if single else f"one with {wrong[0]} in it"
        raise TypeError(f"{where}: expected a list of parameters, as model.parameters() is, got {got}")
    return tuple({id(p): p for p in parameters}.values())


class Optimizer(Guarded):
    """What all optimizers share: the parameters, each once, and the learning rate `lr`, which may be set at any time.

    A frozen parameter, one whose `requires_grad` is False, does not move, nor does what is kept for it.

    Raises TypeError for what is no list of parameters, and ValueError for a setting out of its range: `lr`, `momentum`,
    `eps` and `weight_decay` from 0, both `betas` from 0 to below 1.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        name = type(self).__name__
        self.parameters, lr = parameters_of(parameters, name), setting(lr, f"{name}: lr")
        self.weight_decay = setting(weight_decay, f"{name}: weight_decay")
        dtypes = [np.dtype(np.float64), *{p.dtype for p in self.parameters} - {np.dtype(np.float64)}]
        rates = states([np.asarray(lr, dtype) for dtype in dtypes], ["lr"] * len(dtypes))
        self.rate = rates[0]
        self.rates = tuple([rates[dtypes.index(p.dtype)] for p in self.parameters])  # in the dtype of each parameter

    def zeros(self, name: str) -> tuple[Tensor, ...]:
        """An array of zeros for each parameter."""
        return states([np.zeros_like(p.data) for p in self.parameters], [f"{p.label}.{name}" for p in self.parameters])

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.rate.data)

    @lr.setter
    def lr(self, new: float) -> None:
        for rate in {self.rate, *self.rates}:
            rate.data[...] = new

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every parameter's gradient to 0."""
        for p in self.parameters:
            p.grad = None

    def settings(self) -> dict[str, Any]:
        """The plain numbers that stay, by name: a recorded step has them fixed."""
        raise NotImplementedError

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """By name, what changes from step to step besides `lr`."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The settings, `lr`, and copies of what is remembered from step to step, each as one array (n,): the numbers
        of all parameters, in order and row by row.
        """
        none = np.zeros(0, np.float32)  # so that an optimizer of no parameters has arrays, too
        flat = {name: np.concatenate([none, *(t.data.ravel() for t in ts)]) for name, ts in self.memory().items()}
        return {"settings": self.settings(), "lr": self.lr, **flat}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state dict of an optimizer of the same kind and settings, of either engine; the numbers go
        into the arrays that are there, so that recorded steps go on with them.

        Raises ValueError, and changes nothing, when names, settings or shapes are others; TypeError for no numbers.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected the names {sorted(own)}, got {sorted(state)}")
        if own["settings"] != state["settings"]:
            raise ValueError(f"load_state_dict: expected the settings {own['settings']}, got {state['settings']}")
        lr = number(state["lr"], "load_state_dict: lr")
        arrays = {name: array(state[name], f"load_state_dict: {name}") for name in self.memory()}
        for name, given in arrays.items():
            if own[name].shape != given.shape:
                raise ValueError(f"load_state_dict: {name}: expected shape {own[name].shape}, got {given.shape}")
        self.lr = lr
        for name, tensors in self.memory().items():
            left = arrays[name]
            for t in tensors:
                t.data[...] = left[: t.size].reshape(t.shape)
                left = left[t.size :]


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr g, with momentum p -= lr v where v = momentum v + g.

    Nesterov's form looks ahead: p -= lr (g + momentum v). `weight_decay` adds weight_decay p to each gradient.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if nesterov and not momentum:
            raise ValueError("SGD: expected a momentum above 0 with nesterov=True, got 0")
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = setting(momentum, "SGD: momentum"), nesterov
        self.velocity = self.zeros("velocity") if momentum else ()

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            lr = self.rates[i].data
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            if self.momentum:
                v = self.velocity[i].data
                v *= self.momentum
                v += g
                v += floor(p.dtype)
                g = g + self.momentum * v if self.nesterov else v
            p.data -= lr * g

    def settings(self) -> dict[str, Any]:
        """The kind, momentum, nesterov and weight_decay."""
        kept = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept}

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """The velocities, with momentum."""
        return {"velocity": self.velocity} if self.momentum else {}


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): p -= lr m / (sqrt(v) + eps), where m and v are running means of g and g^2, corrected
    for their start at 0.

    `weight_decay` adds weight_decay p to each gradient. Kept are the sums M = beta1 M + g and V = beta2 V + g^2. Then
    m = M (1 - beta1) / (1 - beta1^t) and v = V / c^2 with c^2 = (1 - beta2^t) / (1 - beta2), so that the step is
    lr c (1 - beta1) / (1 - beta1^t) times M / (sqrt(V) + c eps): two numbers a step and fewer passes over the arrays.
    t counts the optimizer's steps, for a parameter that was frozen in some of them too.
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Tensor],
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
        self.sums, self.squares = self.zeros("sums"), self.zeros("squares")
        self.powers = states([np.ones(()), np.ones(())], ["beta1_power", "beta2_power"])  # beta^t for both betas

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        beta1, beta2 = self.betas
        for power, beta in zip(self.powers, self.betas, strict=True):
            power.data *= beta
        c = np.sqrt((1.0 - self.powers[1].data) / (1.0 - beta2))
        rate = self.rate.data * c * (1.0 - beta1) / (1.0 - self.powers[0].data)
        kept = 1.0 - self.rate.data * self.weight_decay
        eps = c * self.eps
        for p, sums, squares in zip(self.parameters, self.sums, self.squares, strict=True):
            if not p.requires_grad:
                continue
            g, m, v = p.grad, sums.data, squares.data
            if self.weight_decay and self.decoupled:
                p.data *= kept.astype(p.dtype)
            elif self.weight_decay:
                g = g + self.weight_decay * p.data
            m *= beta1
            m += g
            m += floor(p.dtype)
            v *= beta2
            v += g * g
            v += floor(p.dtype)
            p.data -= rate.astype(p.dtype) * (m / (np.sqrt(v) + eps.astype(p.dtype)))

    def settings(self) -> dict[str, Any]:
        """The kind, both betas, eps and weight_decay."""
        kept = {"betas": list(self.betas), "eps": self.eps, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept}

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """The sums, the squares, and beta^t for both betas."""
        return {"sums": self.sums, "squares": self.squares, "powers": self.powers}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p *= 1 - lr weight_decay, apart from g."""

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
