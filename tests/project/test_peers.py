"""The same numbers as PyTorch: op by op, and over a hundred steps of training on real images."""

from collections.abc import Iterator

import numpy as np
import pytest

import vector
from vector import datasets, nn, optim
from vector.data import download
from vector.op import OPS

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

STEPS, BATCH, LR = 100, 32, 0.1
# Ops that PyTorch knows by the same name, with the same meaning wherever both are smooth.
APART = {"cast", "cross_entropy", "index", "scatter", "transpose", "where"}
APART |= {
    "cholesky",
    "det",
    "fold",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "unfold",
}  # of matrices and images: compared apart
SHARED = {
    name: getattr(torch, name, None) or getattr(torch.nn.functional, name, None)
    for name, op in OPS.items()
    if len(op.rules) in (1, 2) and not op.over and name not in APART
}
SHARED |= {"std": lambda x: torch.std(x, correction=0), "var": lambda x: torch.var(x, correction=0)}
SHARED |= {"power": torch.pow, "transpose": lambda x: x.T}
SHARED = {name: function for name, function in SHARED.items() if function}
ARGUMENTS = {  # where an op needs more than its inputs; the same for both
    "broadcast_to": ((5, 3, 4),),
    "clip": (0.5, 1.2),
    "cumprod": (-1,),
    "cumsum": (-1,),
    "log_softmax": (-1,),
    "logsumexp": (-1,),
    "reshape": ((2, 6),),
    "softmax": (-1,),
}
DOMAINS = {"arccosh": (1.1, 3.0), **dict.fromkeys(("arcsin", "arccos", "arctanh"), (-0.9, 0.9))}


def test_most_ops_are_compared() -> None:
    assert len(SHARED) > 45


def test_cross_entropy_and_its_gradient() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0.0, 3.0, (6, 10)), rng.integers(0, 10, 6)
    ours, theirs = vector.Tensor(logits), torch.tensor(logits, requires_grad=True)
    loss, expected = vector.cross_entropy(ours, labels), torch.nn.functional.cross_entropy(theirs, torch.tensor(labels))
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-14)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", sorted(SHARED))
def test_value_and_gradient_of_an_op(name: str) -> None:
    rng = np.random.default_rng(0)
    shapes = {"matmul": [(3, 4), (4, 5)]}.get(name, [(3, 4)] * len(OPS[name].rules))
    low, high = DOMAINS.get(name, (0.1, 2.0))
    inputs = [rng.uniform(low, high, shape) for shape in shapes]
    arguments = ARGUMENTS.get(name, ())

    ours = [vector.Tensor(x) for x in inputs]
    out = getattr(vector, name)(*ours, *arguments)
    g = rng.uniform(-1.0, 1.0, out.shape)
    out.backward(g)

    theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = SHARED[name](*theirs, *arguments)
    expected.backward(torch.tensor(g))

    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-13)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x.grad, y.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_float64_training_ends_at_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs, losses = train_both(np.float64, monkeypatch)
    for name, weights in ours.items():
        error = np.abs(weights - theirs[name])
        print(f"{name}: largest difference {error.max():.2g}, largest weight {abs(weights).max():.2g}")
        assert error.max() <= 1e-9 * np.abs(weights).max()
    assert losses[-10:, 0].mean() < losses[:10, 0].mean() / 2  # it did learn
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-9)


def test_float32_training_has_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, losses = train_both(np.float32, monkeypatch)
    error = np.abs(losses[:, 0] - losses[:, 1])
    print(f"losses: largest difference {error.max():.2g}")
    assert error.max() <= 1e-4


def train_both(dtype, monkeypatch: pytest.MonkeyPatch):
    """SGD on 784-128-10 from the same weights, with the same batches: the weights of both by name, and the losses
    (steps, 2)."""
    model = nn.Sequential(nn.Dense(784, 128, "relu", seed=0, dtype=dtype), nn.Dense(128, 10, seed=1, dtype=dtype))
    optimizer = optim.SGD(model.parameters(), LR)
    twin = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    twin = twin.to(getattr(torch, dtype.__name__))
    layers = {"0": twin[0], "1": twin[2]}
    with torch.no_grad():
        for name, p in model.named().items():
            number, kind = name.split(".")
            getattr(layers[number], kind).copy_(torch.tensor(p.data.T))  # theirs is (n_out, n_in)
    twin_optimizer = torch.optim.SGD(twin.parameters(), LR)

    losses = []
    for images, labels in batches(dtype, monkeypatch):
        loss = vector.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        twin_loss = torch.nn.functional.cross_entropy(twin(torch.tensor(images)), torch.tensor(labels))
        twin_optimizer.zero_grad()
        twin_loss.backward()
        twin_optimizer.step()
        losses.append((loss.item(), twin_loss.item()))
    theirs = {f"{n}.{kind}": getattr(layers[n], kind).detach().numpy().T for n in "01" for kind in ("weight", "bias")}
    return model.state_dict(), theirs, np.array(losses)


def batches(dtype, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of the whole data set where this machine has it, else of the sample; nothing is fetched."""

    def refuse(source: object) -> None:
        raise FileNotFoundError("not fetched in a test")

    monkeypatch.setattr(download, "fetch", refuse)
    try:
        data = datasets.fashion_mnist()
    except FileNotFoundError:
        data = datasets.fashion_mnist_sample()
    images = data.train_images.reshape(-1, 784)
    made = datasets.Batches(images, data.train_labels, BATCH, dtype=dtype, drop_last=True)
    for step in range(STEPS):
        if step % len(made) == 0:
            epoch = iter(made)
        yield next(epoch)
