"""Optimizers: what to do with a parameter's gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .value import Value


class SGD:
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
        self.parameters = list(parameters)
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay
        self.velocity = [0.0] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter once, against its gradient."""
        for i, p in enumerate(self.parameters):
            g = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            if self.momentum:
                v = self.velocity[i] = self.momentum * self.velocity[i] + g
                g = g + self.momentum * v if self.nesterov else v
            p.data -= self.lr * g

    def zero_grad(self) -> None:
        """Set every parameter's gradient to 0."""
        for p in self.parameters:
            p.grad = 0.0


class Adam:
    """Adam (Kingma and Ba, 2015): p -= lr m' / (sqrt(v') + eps), where m and v are running means of g and g^2,
    and m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) correct for their start at 0.

    `weight_decay` adds weight_decay p to each gradient.
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
        self.parameters = list(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.mean = [0.0] * len(self.parameters)
        self.square = [0.0] * len(self.parameters)
        self.powers = (1.0, 1.0)  # beta^t for both betas

    def step(self) -> None:
        """Move every parameter once, against its gradient."""
        beta1, beta2 = self.betas
        self.powers = (self.powers[0] * beta1, self.powers[1] * beta2)
        rate = self.lr / (1.0 - self.powers[0])
        root = math.sqrt(1.0 - self.powers[1])
        for i, p in enumerate(self.parameters):
            g = p.grad
            if self.weight_decay and self.decoupled:
                p.data -= self.lr * self.weight_decay * p.data
            elif self.weight_decay:
                g = g + self.weight_decay * p.data
            m = self.mean[i] = beta1 * self.mean[i] + (1.0 - beta1) * g
            v = self.square[i] = beta2 * self.square[i] + (1.0 - beta2) * (g * g)
            p.data -= rate * m / (math.sqrt(v) / root + self.eps)

    def zero_grad(self) -> None:
        """Set every parameter's gradient to 0."""
        for p in self.parameters:
            p.grad = 0.0


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p -= lr weight_decay p, apart from g."""

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
