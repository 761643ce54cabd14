"""The same GPT, and the same step of Adam, in other libraries and by hand: who races, in one table at the end.

A racer is a function of a `Task` that sets everything up and returns a step: a function of the number of an example,
which trains on it and returns the loss, or something that `float` makes it of. Each is written as its users write it
when they want it fast.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from model import EPS, TENSORS, Gpt, Sizes, Weights, later
from text import Example

import vector

BETAS, ADAM_EPS = (0.9, 0.99), 1e-8
Step = Callable[[int], Any]


class Task(NamedTuple):
    """What to train, from which weights, on which examples, all of one shape."""

    sizes: Sizes
    weights: Weights
    examples: list[Example]
    lr: float

    def numbered(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The examples with the number of each following letter, and -1 in the padding."""
        return [(x, np.where(t.any(axis=-1), t.argmax(axis=-1), -1)) for x, t in self.examples]


Racer = Callable[[Task], Step]

# --- ours -------------------------------------------------------------------------------------------------------------


def ours(task: Task, record: bool = True, exact: bool = False) -> Step:
    """The step recorded at its first call, with the passes that round in another order."""
    model = Gpt(task.sizes, TENSORS, task.weights)
    optimizer = vector.optim.Adam(model.parameters, task.lr, BETAS, ADAM_EPS)

    def step(letters: np.ndarray, targets: np.ndarray) -> Any:
        return model.step(optimizer, letters, targets)

    taken = vector.compile(step, exact=exact) if record else step
    return lambda i: taken(*task.examples[i]).data


def ours_exact(task: Task) -> Step:
    """The step recorded at its first call, the same to the last bit."""
    return ours(task, exact=True)


def ours_eager(task: Task) -> Step:
    """The step as Python, every time."""
    return ours(task, record=False)


# --- numpy by hand ----------------------------------------------------------------------------------------------------


class ByHand:
    """The derivatives worked out on paper, all weights, and all their gradients, in one array."""

    def __init__(self, task: Task) -> None:
        self.sizes, self.lr, self.steps = task.sizes, task.lr, 0
        ends = [0, *accumulate(x.size for x in task.weights.values())]
        self.all = np.concatenate([x.ravel() for x in task.weights.values()])
        self.slopes, self.m, self.v = (np.zeros_like(self.all) for _ in range(3))
        self.w, self.g = (
            {
                name: x[a:b].reshape(w.shape)
                for (name, w), a, b in zip(task.weights.items(), ends, ends[1:], strict=False)
            }
            for x in (self.all, self.slopes)
        )
        self.mask = later(task.sizes.context, self.all.dtype)
        self.hot = np.eye(task.sizes.letters, dtype=self.all.dtype)

    def norm(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x / r, and r, the root of the mean of squares."""
        r = np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] * (1.0 / x.shape[1]) + EPS)
        return x / r, r

    def norm_back(self, g: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
        """dL/dx of y = x / r: (g - y mean(g y)) / r, with y r / r for x."""
        return (g - y * (np.einsum("ij,ij->i", g, y)[:, None] * (1.0 / y.shape[1]))) / r

    def apart(self, x: np.ndarray, n: int) -> np.ndarray:
        """Rows by document and head."""
        return x.reshape(n, self.sizes.context, self.sizes.heads, -1).swapaxes(1, 2)

    def together(self, x: np.ndarray) -> np.ndarray:
        return x.swapaxes(1, 2).reshape(-1, self.sizes.width)

    def layer(self, i: int, x: np.ndarray, n: int) -> tuple[np.ndarray, Any]:
        """A layer, and what its derivatives read."""
        w, root = self.w, (self.sizes.width // self.sizes.heads) ** 0.5
        y, r = self.norm(x)
        q, k, v = (self.apart(y @ w[f"{i}.{name}"], n) for name in ("query", "key", "value"))
        s = q @ k.swapaxes(2, 3)
        s /= root
        s += self.mask
        s -= s.max(axis=-1, keepdims=True)
        np.exp(s, out=s)
        s /= s.sum(axis=-1, keepdims=True)
        a = self.together(s @ v)
        x = x + a @ w[f"{i}.mix"]
        z, t = self.norm(x)
        h = np.maximum(z @ w[f"{i}.up"], 0.0)
        return x + h @ w[f"{i}.down"], (y, r, q, k, v, s, a, z, t, h)

    def layer_back(self, i: int, g: np.ndarray, kept: Any, n: int) -> np.ndarray:
        """dL/dx of a layer's input; the slopes of its weights go to where they belong."""
        w, slopes, root = self.w, self.g, (self.sizes.width // self.sizes.heads) ** 0.5
        y, r, q, k, v, s, a, z, t, h = kept
        np.dot(h.T, g, out=slopes[f"{i}.down"])
        gh = g @ w[f"{i}.down"].T
        gh *= h > 0.0
        np.dot(z.T, gh, out=slopes[f"{i}.up"])
        g = g + self.norm_back(gh @ w[f"{i}.up"].T, z, t)
        np.dot(a.T, g, out=slopes[f"{i}.mix"])
        ga = self.apart(g @ w[f"{i}.mix"].T, n)
        gs = ga @ v.swapaxes(2, 3)
        gs -= (gs * s).sum(axis=-1, keepdims=True)
        gs *= s
        gs /= root
        gy: Any = 0.0
        for name, x in (("query", gs @ k), ("key", gs.swapaxes(2, 3) @ q), ("value", s.swapaxes(2, 3) @ ga)):
            x = self.together(x)
            np.dot(y.T, x, out=slopes[f"{i}.{name}"])
            gy = gy + x @ w[f"{i}.{name}"].T
        return g + self.norm_back(gy, y, r)

    def step(self, letters: np.ndarray, targets: np.ndarray) -> Any:
        """Forward, backward and Adam."""
        w, slopes, n, kept = self.w, self.g, len(letters), []
        x = (w["letters"][letters] + w["places"]).reshape(-1, self.sizes.width)
        for i in range(self.sizes.layers):
            x, seen = self.layer(i, x, n)
            kept.append(seen)
        y, r = self.norm(x)
        z, targets = y @ w["logits"], targets.reshape(-1, self.sizes.letters)
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        z -= np.log(total)
        loss = -np.vdot(z, targets)
        e *= targets.sum(axis=1, keepdims=True) / total
        e -= targets
        np.dot(y.T, e, out=slopes["logits"])
        g = self.norm_back(e @ w["logits"].T, y, r)
        for i in reversed(range(self.sizes.layers)):
            g = self.layer_back(i, g, kept[i], n)
        np.dot(self.hot[letters.ravel()].T, g, out=slopes["letters"])
        g.reshape(n, -1, self.sizes.width).sum(axis=0, out=slopes["places"])
        self.update()
        return loss

    def update(self) -> None:
        """Adam, on all weights at once."""
        self.steps += 1
        m, v, g = self.m, self.v, self.slopes
        c = ((1.0 - BETAS[1] ** self.steps) / (1.0 - BETAS[1])) ** 0.5
        m *= BETAS[0]
        m += g
        v *= BETAS[1]
        v += g * g
        down = np.sqrt(v)
        down += c * ADAM_EPS
        np.divide(m, down, out=down)
        down *= self.lr * c * (1.0 - BETAS[0]) / (1.0 - BETAS[0] ** self.steps)
        self.all -= down


def by_hand(task: Task) -> Step:
    """The yardstick: what numpy can do."""
    model = ByHand(task)
    return lambda i: model.step(*task.examples[i])


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def torch_loss(sizes: Sizes, w: Weights, letters: Any, following: Any) -> Any:
    """The loss of PyTorch's own functions."""
    from torch.nn.functional import cross_entropy, embedding, relu, rms_norm, scaled_dot_product_attention

    n, places = letters.shape

    def norm(x: Any) -> Any:
        return rms_norm(x, (sizes.width,), eps=EPS)

    def apart(x: Any) -> Any:
        return x.view(n, places, sizes.heads, -1).transpose(1, 2)

    x = embedding(letters, w["letters"]) + w["places"][:places]
    for i in range(sizes.layers):
        y = norm(x)
        q, k, v = (apart(y @ w[f"{i}.{name}"]) for name in ("query", "key", "value"))
        taken = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + taken.transpose(1, 2).reshape(n, places, -1) @ w[f"{i}.mix"]
        x = x + relu(norm(x) @ w[f"{i}.up"]) @ w[f"{i}.down"]
    logits = norm(x) @ w["logits"]
    return cross_entropy(logits.view(-1, sizes.letters), following.view(-1), ignore_index=-1)


def pytorch(task: Task, compiled: bool = False) -> Step:
    """PyTorch, eager, on one thread, with its fused Adam."""
    import torch

    torch.set_num_threads(1)  # more take longer at this size
    weights = {name: torch.tensor(x, requires_grad=True) for name, x in task.weights.items()}
    optimizer = torch.optim.Adam(weights.values(), task.lr, BETAS, ADAM_EPS, fused=True)
    examples = [tuple(map(torch.from_numpy, example)) for example in task.numbered()]
    loss_of, update = functools.partial(torch_loss, task.sizes, weights), optimizer.step
    if compiled:
        loss_of, update = torch.compile(loss_of), torch.compile(update)

    def step(i: int) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*examples[i])
        loss.backward()
        update()
        return loss.detach()

    return step


def torch_compile(task: Task) -> Step:
    """torch.compile of the loss and of the optimizer's step."""
    return pytorch(task, compiled=True)


# --- JAX --------------------------------------------------------------------------------------------------------------


def jax_jit(task: Task) -> Step:
    """JAX: one jitted call a step; memory is donated."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", task.weights["letters"].dtype == np.float64)
    sizes, mask = task.sizes, jnp.asarray(later(task.sizes.context, task.weights["letters"].dtype))

    def norm(x: Any) -> Any:
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + EPS)

    def loss_of(w: Weights, letters: Any, following: Any) -> Any:
        n, places = letters.shape
        x = w["letters"][letters] + w["places"]
        for i in range(sizes.layers):
            y = norm(x)
            q, k, v = ((y @ w[f"{i}.{a}"]).reshape(n, places, sizes.heads, -1) for a in ("query", "key", "value"))
            scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / (sizes.width // sizes.heads) ** 0.5 + mask
            taken = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), v)
            x = x + taken.reshape(n, places, -1) @ w[f"{i}.mix"]
            x = x + jax.nn.relu(norm(x) @ w[f"{i}.up"]) @ w[f"{i}.down"]
        logs = jax.nn.log_softmax(norm(x) @ w["logits"])
        counted = following >= 0
        return -jnp.sum(jnp.take_along_axis(logs, following[..., None], 2)[..., 0] * counted) / jnp.sum(counted)

    @functools.partial(jax.jit, donate_argnums=0)
    def jitted(carry: Any, letters: Any, following: Any) -> tuple[Any, Any]:
        w, m, v, t = carry
        loss, g = jax.value_and_grad(loss_of)(w, letters, following)
        t = t + 1
        m = {name: BETAS[0] * m[name] + (1 - BETAS[0]) * g[name] for name in w}
        v = {name: BETAS[1] * v[name] + (1 - BETAS[1]) * g[name] * g[name] for name in w}
        rate, root = task.lr / (1 - BETAS[0] ** t), jnp.sqrt(1 - BETAS[1] ** t)
        w = {name: w[name] - rate * m[name] / (jnp.sqrt(v[name]) / root + ADAM_EPS) for name in w}
        return (w, m, v, t), loss

    weights, none = ({name: jnp.asarray(x * k) for name, x in task.weights.items()} for k in (1, 0))
    carry = (weights, none, {name: x.copy() for name, x in none.items()}, jnp.zeros((), mask.dtype))
    examples = [tuple(map(jnp.asarray, example)) for example in task.numbered()]

    def step(i: int) -> Any:
        nonlocal carry
        carry, loss = jitted(carry, *examples[i])
        return loss

    return step


# --- who races --------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A racer's line in the table, the module without which it is absent, and what sets it up."""

    title: str
    needs: str
    make: Racer


RACERS = {
    "ours": Entry("ours, recorded", "vector", ours),
    "ours-exact": Entry("ours, recorded, exact", "vector", ours_exact),
    "ours-eager": Entry("ours, eager", "vector", ours_eager),
    "byhand": Entry("numpy by hand", "numpy", by_hand),
    "jax": Entry("JAX, jit a step", "jax", jax_jit),
    "torch": Entry("PyTorch, eager", "torch", pytorch),
    "torch-compile": Entry("torch.compile", "torch", torch_compile),
}
