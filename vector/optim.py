"""Optimizers: what to do with a parameter's gradient. The schedules are here by their public path.

All that changes from step to step (velocities, powers of beta, the learning rate) is held in tensors, so that a
recorded step goes on from where it stands.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .epoch import Guarded
from .op import array, number
from .runtime.memory import side_by_side
from .schedules import Plateau, Schedule, constant, cosine, exponential, linear, one_cycle, stepped
from .tensor import Tensor

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Average",
    "Grouped",
    "Lion",
    "Optimizer",
    "Plateau",
    "RMSprop",
    "Schedule",
    "clip_norm",
    "clip_value",
    "constant",
    "cosine",
    "exponential",
    "linear",
    "one_cycle",
    "stepped",
]


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


def two_betas(betas: Any, where: str) -> tuple[float, float]:
    """Two numbers from 0 to below 1. Raises ValueError for anything else."""
    if np.shape(betas) != (2,):
        raise ValueError(f"{where}: expected two betas, got {betas}")
    return setting(betas[0], f"{where}: betas", below=1.0), setting(betas[1], f"{where}: betas", below=1.0)


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
    t counts the optimizer's steps, for a parameter that was frozen in some of them too. With `amsgrad` the largest V so
    far stands for V (Reddi et al., 2018).
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        name = type(self).__name__
        self.betas, self.eps, self.amsgrad = two_betas(betas, name), setting(eps, f"{name}: eps"), amsgrad
        self.sums, self.squares = self.zeros("sums"), self.zeros("squares")
        self.largest = self.zeros("largest") if amsgrad else ()
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
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            g, m, v = p.grad, self.sums[i].data, self.squares[i].data
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
            if self.amsgrad:
                largest = self.largest[i].data
                np.maximum(largest, v, out=largest)
                v = largest
            p.data -= rate.astype(p.dtype) * (m / (np.sqrt(v) + eps.astype(p.dtype)))

    def settings(self) -> dict[str, Any]:
        """The kind, both betas, eps and weight_decay, and amsgrad where it is set."""
        kept = {"betas": list(self.betas), "eps": self.eps, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept, **({"amsgrad": True} if self.amsgrad else {})}

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """The sums, the squares (with amsgrad the largest, too), and beta^t for both betas."""
        largest = {"largest": self.largest} if self.amsgrad else {}
        return {"sums": self.sums, "squares": self.squares, **largest, "powers": self.powers}


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
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, amsgrad)


class RMSprop(Optimizer):
    """RMSprop (Hinton, 2012): p -= lr g / (sqrt(v) + eps), with the running mean v = decay v + (1 - decay) g^2.

    With momentum p -= lr u where u = momentum u + g / (sqrt(v) + eps). `weight_decay` adds weight_decay p to each g.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-2,
        decay: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.decay, self.eps = setting(decay, "RMSprop: decay", below=1.0), setting(eps, "RMSprop: eps")
        self.momentum = setting(momentum, "RMSprop: momentum")
        self.squares = self.zeros("squares")
        self.velocity = self.zeros("velocity") if momentum else ()

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            v = self.squares[i].data
            v *= self.decay
            v += (1.0 - self.decay) * (g * g)
            v += floor(p.dtype)
            g = g / (np.sqrt(v) + self.eps)
            if self.momentum:
                u = self.velocity[i].data
                u *= self.momentum
                u += g
                g = u
            p.data -= self.rates[i].data * g

    def settings(self) -> dict[str, Any]:
        """The kind, decay, eps, momentum and weight_decay."""
        kept = {"decay": self.decay, "eps": self.eps, "momentum": self.momentum, "weight_decay": self.weight_decay}
        return {"kind": type(self).__name__, **kept}

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """The squares, and with momentum the velocities."""
        return {"squares": self.squares, **({"velocity": self.velocity} if self.momentum else {})}


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011): p -= lr g / (sqrt(v) + eps) with the sum of all squares so far, v += g^2.

    `weight_decay` adds weight_decay p to each gradient.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.eps, self.squares = setting(eps, "Adagrad: eps"), self.zeros("squares")

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            v = self.squares[i].data
            v += g * g
            p.data -= self.rates[i].data * (g / (np.sqrt(v) + self.eps))

    def settings(self) -> dict[str, Any]:
        """The kind, eps and weight_decay."""
        return {"kind": type(self).__name__, "eps": self.eps, "weight_decay": self.weight_decay}

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """The sums of squares."""
        return {"squares": self.squares}


class Lion(Optimizer):
    """Lion (Chen et al., 2023): p *= 1 - lr weight_decay, p -= lr sign(beta1 m + (1 - beta1) g), and then
    m = beta2 m + (1 - beta2) g."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas, self.means = two_betas(betas, "Lion"), self.zeros("means")

    def step(self) -> None:
        """Move every parameter that is not frozen once, against its gradient."""
        beta1, beta2 = self.betas
        for i, p in enumerate(self.parameters):
            if not p.requires_grad:
                continue
            g, m, lr = p.grad, self.means[i].data, self.rates[i].data
            direction = np.sign(beta1 * m + (1.0 - beta1) * g)
            if self.weight_decay:
                p.data *= 1.0 - lr * self.weight_decay
            p.data -= lr * direction
            m *= beta2
            m += (1.0 - beta2) * g

    def settings(self) -> dict[str, Any]:
        """The kind, both betas and weight_decay."""
        return {"kind": type(self).__name__, "betas": list(self.betas), "weight_decay": self.weight_decay}

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """The running means."""
        return {"means": self.means}


class Grouped(Optimizer):
    """Several optimizers as one, each with parameters and settings of its own: `Grouped(SGD(weights, 0.1,
    weight_decay=1e-4), SGD(biases, 0.2))`.

    `lr` is the first one's. Setting it sets the others in the proportion that they have when they are grouped.
    Raises TypeError for what is no optimizer, ValueError for none and for a parameter that two of them move.
    """

    def __init__(self, *optimizers: Optimizer) -> None:
        for x in optimizers:
            if not isinstance(x, Optimizer):
                raise TypeError(f"Grouped: expected optimizers, each an argument of its own, got {type(x).__name__}")
        parameters = [p for x in optimizers for p in x.parameters]
        if not optimizers or len({*map(id, parameters)}) < len(parameters):
            raise ValueError("Grouped: expected optimizers of parameters that differ, at least one")
        super().__init__(parameters, optimizers[0].lr, 0.0)
        self.optimizers = optimizers
        first = optimizers[0].lr
        self.proportions = tuple([x.lr / first if first else 1.0 for x in optimizers])

    @property
    def lr(self) -> float:
        """The learning rate of the first."""
        return self.optimizers[0].lr

    @lr.setter
    def lr(self, new: float) -> None:
        for x, proportion in zip(self.optimizers, self.proportions, strict=True):
            x.lr = new * proportion

    def step(self) -> None:
        """A step of each."""
        for x in self.optimizers:
            x.step()

    def settings(self) -> dict[str, Any]:
        """The kind, and the proportion and the settings of each."""
        return {
            "kind": "Grouped",
            "proportions": list(self.proportions),
            "groups": [x.settings() for x in self.optimizers],
        }

    def memory(self) -> dict[str, tuple[Tensor, ...]]:
        """What each remembers, by its number: "0.velocity"."""
        return {f"{i}.{name}": ts for i, x in enumerate(self.optimizers) for name, ts in x.memory().items()}


# --- around a step ----------------------------------------------------------------------------------------------------


def clip_norm(parameters: Iterable[Tensor], limit: float) -> Any:
    """Scale all gradients by limit / (norm + 1e-6) where their norm, the root of the sum of all squares, is larger than
    `limit`. Call it between `backward()` and `step()`, in a recorded step too. Returns the norm before, an array ()."""
    wanted = [p for p in parameters_of(parameters, "clip_norm") if p.requires_grad]
    squares = [np.sum(np.square(p.grad)) for p in wanted]
    norm = np.sqrt(functools.reduce(np.add, squares, np.zeros(())))
    scale = np.minimum(setting(limit, "clip_norm: limit") / (norm + 1e-6), 1.0)
    for p in wanted:
        p.grad = p.grad * scale.astype(p.dtype)
    return norm


def clip_value(parameters: Iterable[Tensor], limit: float) -> None:
    """Keep each element of each gradient between -limit and limit. Call it between `backward()` and `step()`."""
    setting(limit, "clip_value: limit")
    for p in parameters_of(parameters, "clip_value"):
        if p.requires_grad:
            p.grad = np.minimum(np.maximum(p.grad, -limit), limit)


class Average:
    """The exponential moving average of parameters, which is often better than they are (Polyak and Juditsky, 1992).

    Call `update()` after each step. Inside `with average:` the parameters are their averages. At the first steps the
    decay is (1 + t) / (10 + t), where that is less, so that the start is soon forgotten.
    """

    def __init__(self, parameters: Iterable[Tensor], decay: float = 0.999) -> None:
        self.parameters = parameters_of(parameters, "Average")
        self.decay, self.steps = setting(decay, "Average: decay", below=1.0), 0
        self.arrays = [p.data.copy() for p in self.parameters]

    def update(self) -> None:
        """Take in the parameters as they are now."""
        self.steps += 1
        decay = min(self.decay, (1.0 + self.steps) / (10.0 + self.steps))
        for p, average in zip(self.parameters, self.arrays, strict=True):
            average *= decay
            average += (1.0 - decay) * p.data

    def __call__(self, row: Any = None) -> None:
        """Take in the parameters, as `fit(..., on_step=average)` asks for."""
        self.update()

    def exchange(self) -> None:
        for p, average in zip(self.parameters, self.arrays, strict=True):
            kept = p.data.copy()
            p.data[...] = average
            average[...] = kept

    def __enter__(self) -> Average:
        self.exchange()
        return self

    def __exit__(self, *error: object) -> None:
        self.exchange()

    def state_dict(self) -> dict[str, Any]:
        """The averages, each as it is, by number, and how many steps they hold."""
        return {"steps": self.steps, **{str(i): average.copy() for i, average in enumerate(self.arrays)}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises ValueError, and changes nothing, for other shapes."""
        arrays = [np.asarray(state[str(i)]) for i in range(len(self.arrays)) if str(i) in state]
        if [x.shape for x in arrays] != [x.shape for x in self.arrays] or len(state) != len(arrays) + 1:
            raise ValueError(f"load_state_dict: expected averages of shapes {[x.shape for x in self.arrays]}")
        self.steps = int(state["steps"])
        for average, new in zip(self.arrays, arrays, strict=True):
            average[...] = new
