"""Train by L-BFGS, a method of scipy's that takes all parameters as one vector: flatten, minimize, put back.

pip install scipy
python examples/short/minimize.py
"""

import sys

import numpy as np

import vector
from vector import nn
from vector.runtime.threads import use_threads
from viz.console import run, say


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    """All elements, one array after the other."""
    return np.concatenate([x.ravel() for x in arrays])


def put(parameters: list[vector.Tensor], vector_of_all: np.ndarray) -> None:
    """Write the elements back into the parameters."""
    ends = np.cumsum([p.size for p in parameters])
    for p, part in zip(parameters, np.split(vector_of_all, ends[:-1]), strict=True):
        p.data[...] = part.reshape(p.shape)


def main() -> int:
    try:
        from scipy.optimize import minimize
    except ModuleNotFoundError:
        say("minimize.py: expected scipy, found none: pip install scipy")
        return 1
    rng = np.random.default_rng(0)
    x = rng.uniform(-2.0, 2.0, (400, 1))
    y = np.sin(3.0 * x) + 0.3 * x * x
    model = nn.Sequential(nn.Dense(1, 32, "tanh", seed=1), nn.Dense(32, 32, "tanh", seed=2), nn.Dense(32, 1, seed=3))
    parameters = model.parameters()

    @vector.compile
    def value_and_gradients(x, y):
        loss = vector.mse(model(x), y)
        return loss, *(vector.Tensor(g) for g in vector.grad(loss, parameters))

    def f(vector_of_all: np.ndarray) -> tuple[float, np.ndarray]:
        put(parameters, vector_of_all)
        loss, *gradients = value_and_gradients(x, y)
        return loss.item(), flat([g.data for g in gradients])

    # scipy brings a BLAS of its own. Threads of two that wait for each other's cores take ten times as long: one each.
    with use_threads(1):
        found = minimize(f, flat([p.data for p in parameters]), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    put(parameters, found.x)
    say(f"mean squared error {found.fun:.2e} after {found.nit} iterations, {found.nfev} losses and gradients")
    return 0


if __name__ == "__main__":
    sys.exit(run("minimize.py", main))
