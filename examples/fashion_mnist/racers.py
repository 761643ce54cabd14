"""The racers: programs that train the same network from the same weights on the same batches, each in its own process.

    python examples/fashion_mnist/racers.py NAME TASK     (race.py starts them so, and speaks to them in lines of JSON)

A racer is a function of a `Task`: it sets everything up and returns what trains. Each is written as its users write it
when they want it fast. The images stay uint8; to gather a batch of them and to scale it to 0..1 is part of every step.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, redirect_stdout
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from networks import NETWORKS, Network, dense

Step = Callable[..., Any]
BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam
COMPARED = 50  # steps whose losses are compared


class Task(NamedTuple):
    """What to train, and on what: `folder` holds images.npy (n, 784) uint8, labels.npy (n,), and the first weights, for
    PyTorch by name. `network` is one of NETWORKS, of which "dense" has `width` hidden units."""

    folder: str
    batch: int
    width: int
    optimizer: str
    lr: float
    network: str = "dense"

    @property
    def made(self) -> Network:
        """The network itself."""
        return dense(784, self.width, 10) if self.network == "dense" else NETWORKS[self.network]

    @property
    def title(self) -> str:
        """What the network is called, also in the folder."""
        return self.made.about

    def load(self, name: str) -> np.ndarray:
        """One of the arrays in the folder."""
        return np.load(Path(self.folder) / f"{name}.npy")

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, 784) uint8 and labels (n,) int64."""
        return self.load("images"), self.load("labels")

    @property
    def weights(self) -> list[np.ndarray]:
        """Our parameters in order, float32: of the dense network W1 (784, width), b1 (width,), W2 (width, 10), b2."""
        with np.load(Path(self.folder) / f"{self.title}.npz") as file:
            return [file[name] for name in file.files]

    @property
    def torch_weights(self) -> dict[str, np.ndarray]:
        """The same as PyTorch names and turns them."""
        with np.load(Path(self.folder) / f"torch {self.title}.npz") as file:
            return dict(file)

    @property
    def order(self) -> np.ndarray:
        """Which images each step of an epoch takes: (steps, batch). Every epoch takes the same."""
        labels = self.load("labels")
        rows = np.random.default_rng(0).permutation(len(labels))
        batch = min(self.batch, len(rows))
        return rows[: len(rows) // batch * batch].reshape(-1, batch)


class Steps:
    """Training that Python runs step by step: `step(handle)` for the handle of each batch of an epoch, over and over.

    read  a step's result as a number
    wait  returns when the result is there, for who computes behind Python's back
    """

    def __init__(
        self,
        step: Step,
        handles: Iterable[Any],
        read: Callable[[Any], float] = float,
        wait: Callable[[Any], object] = lambda loss: None,
    ):
        self.step, self.read, self.wait = step, read, wait
        self.handles = cycle(list(handles))

    def losses(self, count: int) -> list[float]:
        """The losses of the next steps."""
        return [self.read(self.step(handle)) for handle in islice(self.handles, count)]

    def run(self, count: int) -> int:
        """Train for so many steps. Returns how many there were."""
        step, loss = self.step, None
        for handle in islice(self.handles, count):
            loss = step(handle)
        self.wait(loss)
        return count


class Epochs:
    """Training that takes many steps at a time: `train(count)` makes at least so many and returns their losses."""

    def __init__(self, train: Callable[[int], Sequence[float]], least: int):
        self.train, self.least = train, least
        self.kept: list[float] = []

    def losses(self, count: int) -> list[float]:
        """The losses of the next steps."""
        while len(self.kept) < count:
            self.kept += [float(loss) for loss in self.train(count - len(self.kept))]
        given, self.kept = self.kept[:count], self.kept[count:]
        return given

    def run(self, count: int) -> int:
        """Train for at least so many steps. Returns how many there were."""
        done = 0
        while done < count:
            done += len(self.train(max(self.least, count - done)))
        return done


Racer = Callable[[Task], Steps | Epochs]

# --- on numpy ---------------------------------------------------------------------------------------------------------


def gatherer(task: Task) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Rows to a batch of images (n, 784) float32 and labels (n,), in the same memory each time."""
    images, labels = task.data
    n = task.order.shape[1]
    raw, x, y = np.empty((n, 784), np.uint8), np.empty((n, 784), np.float32), np.empty(n, np.int64)
    scale, multiply, take_images, take_labels = np.array(1 / 255, np.float32), np.multiply, images.take, labels.take

    def gather(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        take_images(rows, 0, raw, "clip")
        x[...] = raw
        multiply(x, scale, out=x)
        take_labels(rows, 0, y, "clip")
        return x, y

    return gather


def use_blas_threads(task: Task, threads: int | None = None) -> None:
    """BLAS threads for the rest of this process: unless given, the number that is faster for this size."""
    from threadpoolctl import threadpool_limits

    threads = threads or (1 if task.batch * 784 * task.width < 32_000_000 else os.cpu_count())
    threadpool_limits(threads, user_api="blas")


def use_our_threads() -> None:
    """Threads for the rest of this process, as `Sequential.fit` uses them."""
    from vector.runtime.threads import use_threads

    REST.enter_context(use_threads())


REST = ExitStack()  # what lasts as long as this process


def our_step(task: Task) -> Step:
    """The training step as one writes it on `vector`."""
    import vector
    from vector import optim

    model = task.made.ours()
    model.load_state_dict(dict(zip(model.state_dict(), task.weights, strict=True)))
    optimizer = {"sgd": optim.SGD, "adam": optim.Adam}[task.optimizer](model.parameters(), task.lr)

    def step(images: Any, labels: Any) -> Any:
        loss = vector.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def gathered(task: Task, step: Step, read: Callable[[Any], float] = float) -> Steps:
    """A step of images and labels as a step of rows."""
    gather = gatherer(task)
    return Steps(lambda rows: step(*gather(rows)), task.order, read)


def ours(task: Task, exact: bool = False) -> Steps:
    """The step recorded at its first call, with the passes that round in another order."""
    from vector import compile

    use_our_threads()
    return gathered(task, compile(our_step(task), exact=exact), lambda loss: loss.item())


def ours_over(task: Task) -> Epochs:
    """The recorded step, 32 batches a call: they are gathered and scaled at once."""
    from vector import compile

    use_our_threads()
    images, labels = task.data
    step = compile(our_step(task), exact=False)
    order = task.order
    some = cycle([order[i : i + 32] for i in range(0, len(order), 32)])

    def train(count: int) -> Any:
        rows = next(some)
        x = images.take(rows.ravel(), 0).astype(np.float32)
        x *= np.float32(1 / 255)
        return step.over(x.reshape(*rows.shape, 784), labels.take(rows)).data

    return Epochs(train, 1)


def ours_exact(task: Task) -> Steps:
    """The step recorded at its first call, the same to the last bit."""
    return ours(task, exact=True)


def ours_eager(task: Task) -> Steps:
    """The step as Python, every time."""
    use_our_threads()
    return gathered(task, our_step(task), lambda loss: loss.item())


def byhand(task: Task, threads: int | None = None, careful: bool = False) -> Steps:
    """The yardstick: byhand.py."""
    from byhand import adam, sgd

    use_blas_threads(task, threads)
    make = {"sgd": sgd, "adam": adam}[task.optimizer]
    return gathered(task, make(task.weights, task.order.shape[1], task.lr, careful))


def byhand_careful(task: Task) -> Steps:
    """The yardstick with the checks and the exactness at odd places that a recorded step has."""
    return byhand(task, careful=True)


def byhand_all_threads(task: Task) -> Steps:
    """The yardstick with the BLAS threads that numpy has by default."""
    return byhand(task, os.cpu_count())


class NumpyAdam:
    """Adam as one writes it in three lines of numpy, for engines that bring no optimizer."""

    def __init__(self, weights: list[np.ndarray], lr: float):
        self.lr, self.count = lr, 0
        self.m, self.v = ([np.zeros_like(w) for w in weights] for _ in range(2))

    def __call__(self, weights: Sequence[np.ndarray], gradients: Sequence[np.ndarray]) -> None:
        self.count += 1
        rate, root = self.lr / (1 - BETAS[0] ** self.count), (1 - BETAS[1] ** self.count) ** 0.5
        for w, g, m, v in zip(weights, gradients, self.m, self.v, strict=True):
            m += (1 - BETAS[0]) * (g - m)
            v += (1 - BETAS[1]) * (g * g - v)
            w -= rate * m / (np.sqrt(v) / root + EPS)


def numpy_update(task: Task, weights: list[np.ndarray]) -> Callable[..., None]:
    def sgd(weights: Sequence[np.ndarray], gradients: Sequence[np.ndarray]) -> None:
        for w, g in zip(weights, gradients, strict=True):
            w -= task.lr * g

    return sgd if task.optimizer == "sgd" else NumpyAdam(weights, task.lr)


def hips(task: Task) -> Steps:
    """HIPS autograd."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    use_blas_threads(task)
    weights, hot = task.weights, np.eye(10, dtype=np.float32)
    update = numpy_update(task, weights)

    def loss_of(weights: Any, x: Any, p: Any) -> Any:
        W1, b1, W2, b2 = weights
        z = anp.dot(anp.maximum(anp.dot(x, W1) + b1, 0.0), W2) + b2
        z = z - anp.max(z, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - anp.sum(z * p, axis=1))

    value_and_gradient = value_and_grad(loss_of)

    def step(x: np.ndarray, y: np.ndarray) -> Any:
        loss, gradients = value_and_gradient(weights, x, hot[y])
        update(weights, gradients)
        return loss

    return gathered(task, step)


def mygrad(task: Task) -> Steps:
    """MyGrad, with its guard of memory off as its manual advises for speed."""
    import mygrad as mg
    from mygrad.nnet.activations import relu
    from mygrad.nnet.losses import softmax_crossentropy

    use_blas_threads(task)
    mg.turn_memory_guarding_off()
    W1, b1, W2, b2 = parameters = [mg.tensor(w) for w in task.weights]
    update = numpy_update(task, task.weights)

    def step(x: np.ndarray, y: np.ndarray) -> Any:
        loss = softmax_crossentropy(mg.matmul(relu(mg.matmul(x, W1) + b1), W2) + b2, y)
        loss.backward()
        update([p.data for p in parameters], [p.grad for p in parameters])
        for p in parameters:
            p.null_grad()
        return loss

    return gathered(task, step, lambda loss: loss.item())


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def torch_parts(task: Task, threads: int) -> tuple[Any, Any, Any, Any]:
    """Threads set; the model, its optimizer, the loss of rows, and the rows of each step."""
    import torch

    torch.set_num_threads(threads)
    images, labels = map(torch.from_numpy, task.data)
    model = task.made.torch()
    model.load_state_dict({name: torch.from_numpy(x) for name, x in task.torch_weights.items()})
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[task.optimizer]
    optimizer = make(model.parameters(), lr=task.lr, fused=True)

    def loss_of(rows: Any) -> Any:
        x = images.index_select(0, rows).to(torch.float32).div_(255.0)
        return torch.nn.functional.cross_entropy(model(x), labels.index_select(0, rows))

    return model, optimizer, loss_of, torch.from_numpy(task.order).unbind()


def pytorch(task: Task, threads: int = 1) -> Steps:
    """PyTorch, eager."""
    _, optimizer, loss_of, rows = torch_parts(task, threads)

    def step(rows: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(rows)
        loss.backward()
        optimizer.step()
        return loss

    return Steps(step, rows, lambda loss: loss.item())


def pytorch_all_threads(task: Task) -> Steps:
    """PyTorch, eager, a thread a core."""
    return pytorch(task, os.cpu_count() or 1)


def torch_compile(task: Task, threads: int = 1) -> Steps:
    """torch.compile of the loss and of the optimizer's step, as its manual advises."""
    import torch

    _, optimizer, loss_of, rows = torch_parts(task, threads)
    loss_of, update = torch.compile(loss_of), torch.compile(optimizer.step)

    def step(rows: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(rows)
        loss.backward()
        update()
        return loss

    return Steps(step, rows, lambda loss: loss.item())


def torch_compile_all_threads(task: Task) -> Steps:
    """torch.compile, a thread a core."""
    return torch_compile(task, os.cpu_count() or 1)


# --- JAX --------------------------------------------------------------------------------------------------------------


def jax_parts(task: Task) -> tuple[Any, Any, Any]:
    """A step from (weights, optimizer's state) and rows to the next and the loss; the first state; data and order."""
    import jax
    import jax.numpy as jnp

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        logs = jax.nn.log_softmax(task.made.jax(weights, x))
        return -jnp.mean(jnp.sum(logs * jax.nn.one_hot(y, 10), axis=1))

    def sgd(weights: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
        return [w - task.lr * g for w, g in zip(weights, gradients, strict=True)], state

    def adam(weights: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
        t, ms, vs = state
        t = t + 1
        ms = [BETAS[0] * m + (1 - BETAS[0]) * g for m, g in zip(ms, gradients, strict=True)]
        vs = [BETAS[1] * v + (1 - BETAS[1]) * g * g for v, g in zip(vs, gradients, strict=True)]
        rate, root = task.lr / (1 - BETAS[0] ** t), jnp.sqrt(1 - BETAS[1] ** t)
        new = [w - rate * m / (jnp.sqrt(v) / root + EPS) for w, m, v in zip(weights, ms, vs, strict=True)]
        return new, (t, ms, vs)

    update = {"sgd": sgd, "adam": adam}[task.optimizer]

    def step(carry: Any, rows: Any, data: Any) -> tuple[Any, Any]:
        weights, state = carry
        images, labels = data
        x = images.at[rows].get(mode="promise_in_bounds").astype(jnp.float32) / 255.0
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, labels.at[rows].get(mode="promise_in_bounds"))
        return update(weights, gradients, state), loss

    weights = [jnp.asarray(w) for w in task.weights]
    first = (jnp.zeros(()), [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights])
    data = tuple(jnp.asarray(x) for x in task.data)
    return step, (weights, () if task.optimizer == "sgd" else first), (data, jnp.asarray(task.order))


def jax_jit(task: Task) -> Steps:
    """JAX: one call of a jitted step a batch; everything stays on the device, and memory is donated."""
    import functools

    import jax

    step_of, carry, (data, order) = jax_parts(task)

    @functools.partial(jax.jit, donate_argnums=0)
    def jitted(carry: Any, data: Any, order: Any) -> tuple[Any, Any]:
        inner, i = carry
        inner, loss = step_of(inner, order[i], data)
        return (inner, (i + 1) % len(order)), loss

    carry = (carry, jax.numpy.zeros((), jax.numpy.int32))

    def step(_: Any) -> Any:
        nonlocal carry
        carry, loss = jitted(carry, data, order)
        return loss

    return Steps(step, [None], float, lambda _: jax.block_until_ready(carry))


def jax_scan(task: Task) -> Epochs:
    """JAX: a whole epoch in one call."""
    import functools

    import jax

    step_of, carry, (data, order) = jax_parts(task)

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(carry: Any, data: Any, order: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda carry, rows: step_of(carry, rows, data), carry, order)

    def train(count: int) -> Any:
        nonlocal carry
        carry, losses = epoch(carry, data, order)
        return np.asarray(jax.block_until_ready(losses))

    return Epochs(train, len(order))


# --- TensorFlow -------------------------------------------------------------------------------------------------------


def tensorflow(task: Task) -> Steps:
    """TensorFlow: a `tf.function` of the whole step, compiled by XLA."""
    import tensorflow as tf

    images, labels = map(tf.constant, task.data)
    order = tf.constant(task.order)
    W1, b1, W2, b2 = weights = [tf.Variable(w) for w in task.weights]
    ms, vs = ([tf.Variable(tf.zeros_like(w)) for w in weights] for _ in range(2))
    count = tf.Variable(0.0)

    def update(gradients: Any) -> None:
        if task.optimizer == "sgd":
            for w, g in zip(weights, gradients, strict=True):
                w.assign_sub(task.lr * g)
            return
        count.assign_add(1.0)
        rate, root = task.lr / (1 - BETAS[0] ** count), tf.sqrt(1 - BETAS[1] ** count)
        for w, g, m, v in zip(weights, gradients, ms, vs, strict=True):
            m.assign(BETAS[0] * m + (1 - BETAS[0]) * g)
            v.assign(BETAS[1] * v + (1 - BETAS[1]) * g * g)
            w.assign_sub(rate * m / (tf.sqrt(v) / root + EPS))

    @tf.function(jit_compile=True)
    def step(rows: Any) -> Any:
        x, y = tf.cast(tf.gather(images, rows), tf.float32) / 255.0, tf.gather(labels, rows)
        with tf.GradientTape() as tape:
            z = tf.nn.relu(x @ W1 + b1) @ W2 + b2
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))
        update(tape.gradient(loss, weights))
        return loss

    return Steps(step, tf.unstack(order) if len(order) < 5000 else list(order), float, float)


def keras_fit(task: Task) -> Epochs:
    """Keras, `fit`, which makes the batches itself out of the images in the order of the steps."""
    import keras

    images, labels = (x[task.order].reshape(-1, *x.shape[1:]) for x in task.data)
    model = keras.Sequential(
        [
            keras.Input((784,), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Dense(task.width, "relu"),
            keras.layers.Dense(10),
        ]
    )
    model.set_weights(task.weights)
    if task.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(task.lr)
    else:  # Keras adds its epsilon before it corrects for the start at 0: a tenth of it suits the first steps
        optimizer = keras.optimizers.Adam(task.lr, *BETAS, EPS / 10)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    class Means(keras.callbacks.Callback):
        """Keras reports the mean of the losses so far."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            means.append(float(logs["loss"]))

    means: list[float] = []
    batch, place = task.order.shape[1], 0

    def train(count: int) -> Sequence[float]:
        nonlocal place
        count = min(count, len(task.order) - place)
        rows = slice(place * batch, (place + count) * batch)
        place = (place + count) % len(task.order)
        watch = [Means()] if count <= COMPARED else []
        means.clear()
        model.fit(images[rows], labels[rows], batch, epochs=1, shuffle=False, verbose=0, callbacks=watch)
        if not watch:
            return range(count)
        return np.diff(np.array(means) * np.arange(1, count + 1), prepend=0.0).tolist()

    return Epochs(train, min(len(task.order), 1000))  # to begin a fit takes as long as some steps


# --- who races --------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A racer's line in the table, the module without which it is absent, what sets it up, and whether it trains every
    network or the dense one alone."""

    title: str
    needs: str
    make: Racer
    every: bool = True


RACERS = {
    "ours": Entry("ours, recorded", "vector", ours),
    "ours-over": Entry("ours, 32 steps a call", "vector", ours_over),
    "ours-exact": Entry("ours, recorded, exact", "vector", ours_exact),
    "ours-eager": Entry("ours, eager", "vector", ours_eager),
    "byhand": Entry("numpy by hand", "numpy", byhand, False),
    "byhand-careful": Entry("numpy by hand, as careful", "numpy", byhand_careful, False),
    "byhand-threads": Entry("numpy by hand, all threads", "numpy", byhand_all_threads, False),
    "jax-scan": Entry("JAX, an epoch in lax.scan", "jax", jax_scan),
    "jax": Entry("JAX, jit a step", "jax", jax_jit),
    "torch": Entry("PyTorch, 1 thread", "torch", pytorch),
    "torch-threads": Entry("PyTorch, all threads", "torch", pytorch_all_threads),
    "torch-compile": Entry("torch.compile, 1 thread", "torch", torch_compile),
    "torch-compile-threads": Entry("torch.compile, all threads", "torch", torch_compile_all_threads),
    "mygrad": Entry("MyGrad", "mygrad", mygrad, False),
    "hips": Entry("HIPS autograd", "autograd", hips, False),
    "tensorflow": Entry("TensorFlow, tf.function", "tensorflow", tensorflow, False),
    "keras": Entry("Keras, fit", "keras", keras_fit, False),
}

# --- what bounds us ---------------------------------------------------------------------------------------------------


def bounds(task: Task) -> dict[str, Any]:
    """Where the time of our recorded step goes, in microseconds, line by line. What threads share is one line."""
    import vector

    use_our_threads()
    step, gather = vector.compile(our_step(task), exact=False), gatherer(task)
    order = cycle(task.order)
    x, y = gather(next(order))
    step(x, y)
    profile = step.profile(x, y, repeat=1000)
    spent = {kind: 1e6 * seconds for kind, seconds, *_ in profile.kinds()}
    products = spent["matrix products"]
    gathering = best(lambda: gather(next(order)))[0]
    return {
        "step": 1e6 * profile.step,
        "program": 1e6 * profile.seconds,
        "gather": 1e6 * gathering,
        "products": products,
        "other": sum(spent.values()) - products,
        "price": 1e6 * price_of_a_call(),
        "count": len(step.program.calls),
        "bytes": sum(row.bytes for row in profile.rows),
        "planned": step.memory,
        "gflops": sum(row.operations for row in profile.rows if row.kind == "matrix products") / products / 1e3,
        "peak_gflops": profile.products / 1e9,
        "calls": {f"{i:3}  {row.text}": 1e6 * row.seconds for i, row in enumerate(profile.rows)},
    }


def price_of_a_call() -> float:
    """Seconds that numpy takes to do next to nothing."""
    x, out, add = np.ones(10, np.float32), np.empty(10, np.float32), np.add
    return best(lambda: [add(x, x, out=out) for _ in range(20)])[0] / 20


def best(*functions: Callable[[], Any], rounds: int = 20, moment: float = 0.01) -> list[float]:
    """Seconds a call of each, in turn for about a `moment`, the minimum over rounds."""
    lowest, times = [np.inf] * len(functions), [1] * len(functions)
    for _ in range(rounds):
        for i, f in enumerate(functions):
            start = time.perf_counter()
            for _ in range(times[i]):
                f()
            lowest[i] = min(lowest[i], (time.perf_counter() - start) / times[i])
            times[i] = max(1, int(moment / lowest[i]))
    return lowest


# --- the recipe race --------------------------------------------------------------------------------------------------


def recipe_ours(name: str, epochs: int, out: str, data: list[str]) -> None:
    """train.py, as a reader runs it."""
    sys.argv = ["train.py", "--recipe", name, "--epochs", str(epochs), "--out", out, *data]
    with redirect_stdout(sys.stderr):
        try:
            runpy.run_path(str(Path(__file__).with_name("train.py")), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise


def recipe_torch(name: str, epochs: int, out: str, data: list[str], threads: int = 1) -> None:
    """A recipe of train.py in PyTorch: loss and accuracy while training, and on the test images."""
    import torch
    from train import RECIPES, load_data

    from vector.optim import cosine

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    recipe = RECIPES[name]
    loaded = load_data(data[-1] if data else None)
    train_images, train_labels, test_images, test_labels = (torch.from_numpy(np.array(x)) for x in loaded)
    train_images, test_images = train_images.flatten(1), test_images.flatten(1)
    train_labels, test_labels = train_labels.long(), test_labels.long()
    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    make = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[recipe.optimizer]
    optimizer = make(model.parameters(), lr=recipe.lr, fused=True)
    loss_of = torch.nn.functional.cross_entropy
    steps = epochs * -(-len(train_images) // recipe.batch_size)
    schedule = cosine(recipe.lr, steps, warmup=steps // 10)
    start, count, history = time.perf_counter(), 0, []
    for epoch in range(1, epochs + 1):
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for rows in torch.randperm(len(train_images)).split(recipe.batch_size):
            optimizer.param_groups[0]["lr"] = schedule(count)
            x, y = train_images.index_select(0, rows).to(torch.float32).div_(255.0), train_labels.index_select(0, rows)
            z = model(x)
            loss = loss_of(z, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                total += loss * len(rows)
                right += (z.argmax(1) == y).sum()
            count += 1
        with torch.no_grad():
            z = model(test_images.to(torch.float32) / 255.0)
            accuracy = (z.argmax(1) == test_labels).float().mean().item()
        history.append({"epoch": epoch, "loss": total.item() / len(train_images), "test_accuracy": accuracy})
        print(history[-1], file=sys.stderr)
    seconds = time.perf_counter() - start
    Path(out).mkdir(parents=True, exist_ok=True)
    outcome = {"seconds": seconds, "test_accuracy": accuracy, "epochs": history}
    (Path(out) / "history.json").write_text(json.dumps(outcome))


def recipe_torch_all_threads(name: str, epochs: int, out: str, data: list[str]) -> None:
    """The same with a thread a core."""
    recipe_torch(name, epochs, out, data, os.cpu_count() or 1)


RECIPE_RACERS = {
    "ours": ("ours, train.py", "vector", recipe_ours),
    "torch": ("PyTorch, 1 thread", "torch", recipe_torch),
    "torch-threads": ("PyTorch, all threads", "torch", recipe_torch_all_threads),
}

# --- the process of a racer -------------------------------------------------------------------------------------------


def peak_memory() -> int:
    """Bytes of memory that this process has held at most."""
    try:  # what getrusage says begins with the size of the process that started this one
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def timed(racer: Steps | Epochs, seconds: float, guess: float) -> tuple[float, int]:
    """Train for about so long, `guess` seconds a step: seconds a step, and how many steps it took."""
    count = max(1, round(seconds / guess))
    start = time.perf_counter()
    done = racer.run(count)
    return (time.perf_counter() - start) / done, done


def race(racer: Steps | Epochs, ask: Callable[[], Any], say: Callable[[Any], None]) -> None:
    """Say the losses, the first as soon as it is there; then run a round each time when asked for so many seconds."""
    first = racer.losses(1)
    say({"ready": True})
    say({"losses": first + racer.losses(COMPARED - 1)})
    guess = 1.0
    for seconds in (0.0, 0.0, 0.05, 0.1):  # warm up, until the time of a step is known
        guess, _ = timed(racer, seconds, guess)
    rested = time.process_time()
    while (seconds := ask()) is not None:
        idle = time.process_time() - rested
        guess, steps = timed(racer, seconds, guess)
        say({"step": guess, "steps": steps, "memory": peak_memory(), "idle": idle})
        rested = time.process_time()


def main(job: str, name: str, given: str) -> None:
    """Do a job: `race` or `bounds` or `recipe`. What libraries print goes to stderr; stdout is for the answers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(answer: Any) -> None:
        print(json.dumps(answer), file=answers)

    def ask() -> Any:
        line = sys.stdin.readline()
        return json.loads(line) if line.strip() else None

    if job == "race":
        race(RACERS[name].make(Task(*json.loads(given))), ask, say)
    elif job == "bounds":
        say(bounds(Task(*json.loads(given))))
    else:
        RECIPE_RACERS[name][2](*json.loads(given))
        say({"memory": peak_memory()})


if __name__ == "__main__":
    main(*sys.argv[1:])
