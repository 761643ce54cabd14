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
        self.parameters = list(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.sums = [0.0] * len(self.parameters)
        self.squares = [0.0] * len(self.parameters)
        self.powers = (1.0, 1.0)  # beta^t for both betas

    def step(self) -> None:
        """Move every parameter once, against its gradient."""
        beta1, beta2 = self.betas
        self.powers = (self.powers[0] * beta1, self.powers[1] * beta2)
        c = math.sqrt((1.0 - self.powers[1]) / (1.0 - beta2))
        rate = self.lr * c * (1.0 - beta1) / (1.0 - self.powers[0])
        for i, p in enumerate(self.parameters):
            g = p.grad
            if self.weight_decay and self.decoupled:
                p.data *= 1.0 - self.lr * self.weight_decay
            elif self.weight_decay:
                g = g + self.weight_decay * p.data
            self.sums[i] = beta1 * self.sums[i] + g
            self.squares[i] = beta2 * self.squares[i] + g * g
            p.data -= rate * (self.sums[i] / (math.sqrt(self.squares[i]) + c * self.eps))

    def zero_grad(self) -> None:
        """Set every parameter's gradient to 0."""
        for p in self.parameters:
            p.grad = 0.0


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
