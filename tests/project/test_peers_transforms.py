"""The transforms against JAX's, on random networks, eager and recorded; printed is what each costs, in gradients."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vector

jax = pytest.importorskip("jax")
pytestmark = pytest.mark.peers

ACTIVATIONS = ("tanh", "sigmoid", "softplus", "sin")


def network(rng: np.random.Generator, n: int, m: int) -> Callable[[Any], Callable[[Any], Any]]:
    """A function of n numbers that gives m, in the terms of a library of `matmul` and activations."""
    widths = [n, *rng.integers(3, 9, rng.integers(1, 4)).tolist(), m]
    weights = [rng.normal(size=(a, b)) / np.sqrt(a) for a, b in itertools.pairwise(widths)]
    biases = [rng.normal(size=b) for b in widths[1:]]
    names = rng.choice(ACTIVATIONS, len(weights)).tolist()

    def of(functions: Any) -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            for weight, bias, name in zip(weights, biases, names, strict=True):
                x = getattr(functions, name)(functions.matmul(x, weight) + bias)
            return x

        return f

    return of


class Theirs:
    tanh, sin, matmul = jax.numpy.tanh, jax.numpy.sin, jax.numpy.matmul
    sigmoid, softplus = jax.nn.sigmoid, jax.nn.softplus


def seconds(f: Callable[[], Any]) -> float:
    f()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


def agree(ours: Any, theirs: Any) -> None:
    ours = getattr(ours, "data", ours) if not isinstance(ours, np.ndarray) else ours
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-12, atol=1e-12)


def test_transforms_of_random_networks() -> None:
    rng = np.random.default_rng(0)
    costs: dict[str, list[float]] = {}
    with jax.enable_x64(True):
        for _ in range(20):
            n, m = rng.integers(2, 7, 2).tolist()
            of = network(rng, n, m)
            ours, theirs = of(vector), of(Theirs)
            x, v, u = rng.normal(size=n), rng.normal(size=n), rng.normal(size=m)

            def loss(x: Any, f: Any = ours) -> Any:
                return vector.sum(f(x) ** 2)

            def their_loss(x: Any, f: Any = theirs) -> Any:
                return (f(x) ** 2).sum()

            their_hessian = jax.hessian(their_loss)(x)
            cases: dict[str, tuple[Callable[[Any], Any], Any]] = {
                "gradient": (lambda x, f=loss: vector.value_and_grad(f)(x)[1], jax.grad(their_loss)(x)),
                "vjp": (lambda x, f=ours, u=u: vector.vjp(f, x, u)[1], jax.vjp(theirs, x)[1](u)[0]),
                "jvp": (lambda x, f=ours, v=v: vector.jvp(f, x, v)[1], jax.jvp(theirs, (x,), (v,))[1]),
                "hvp": (lambda x, f=loss, v=v: vector.hvp(f, x, v)[1], their_hessian @ v),
                "jacobian": (lambda x, f=ours: vector.jacobian(f, x), jax.jacobian(theirs)(x)),
                "hessian": (lambda x, f=loss: vector.hessian(f, x), their_hessian),
            }
            one = 0.0
            for name, (f, expected) in cases.items():
                agree(f(x), expected)
                step = vector.compile(f)
                for _ in range(3):
                    agree(step(x), expected)
                took = seconds(lambda f=f, x=x: f(x))
                one = took if name == "gradient" else one
                costs.setdefault(name, []).append(took / one)
    for name, ratios in costs.items():
        print(f"{name:10} {np.median(ratios):5.1f} times a gradient (from {min(ratios):.1f} to {max(ratios):.1f})")
