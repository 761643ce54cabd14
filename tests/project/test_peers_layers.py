"""Layers against PyTorch's, float64: values, gradients, a Hessian-vector product, what they remember, and a hundred
steps of training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vector
from vector import nn, optim

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Using padding")]

RNG = np.random.default_rng(0)


def put(theirs: Any, name: str, x: np.ndarray) -> None:
    with torch.no_grad():
        getattr(theirs, name).copy_(torch.tensor(np.ascontiguousarray(x)))


def recurrent(layer: Any, theirs: Any) -> None:
    for name, x in (
        ("weight_ih_l0", layer.weight.data.T),
        ("weight_hh_l0", layer.recurrent.data.T),
        ("bias_ih_l0", layer.bias.data),
        ("bias_hh_l0", layer.recurrent_bias.data),
    ):
        put(theirs, name, x)


def norm(layer: Any, theirs: Any) -> None:
    layer.weight.data[...] = RNG.normal(size=layer.weight.shape)
    put(theirs, "weight", layer.weight.data)
    if layer.bias is not None:
        layer.bias.data[...] = RNG.normal(size=layer.bias.shape)
        put(theirs, "bias", layer.bias.data)


def attention(layer: Any, theirs: Any) -> None:
    put(theirs, "in_proj_weight", layer.project.weight.data.T)
    put(theirs, "in_proj_bias", layer.project.bias.data)
    put(theirs.out_proj, "weight", layer.output.weight.data.T)
    put(theirs.out_proj, "bias", layer.output.bias.data)


def attend(theirs: Any, x: Any, causal: bool) -> Any:
    mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1) if causal else None
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the one with second derivatives
        return theirs(x, x, x, attn_mask=mask, need_weights=False)[0]


def channels_first(theirs: Any, x: Any) -> Any:
    return theirs(x.movedim(-1, 1)).movedim(1, -1)


def kernel(layer: Any, theirs: Any) -> None:
    """(kh, kw, c, o) as (o, c, kh, kw)."""
    axes = layer.weight.ndim
    put(theirs, "weight", layer.weight.data.transpose(axes - 1, axes - 2, *range(axes - 2)))
    layer.bias.data[...] = RNG.normal(size=layer.bias.shape)
    put(theirs, "bias", layer.bias.data)


def nothing(layer: Any, theirs: Any) -> None:
    pass


Make, Copy, Apply = Callable[[], Any], Callable[[Any, Any], None], Callable[[Any, Any], Any]
Case = tuple[Make, Make, Copy, Apply, tuple[int, ...]]
d = torch.float64
CASES: dict[str, Case] = {
    "Conv2D": (
        lambda: nn.Conv2D(3, 4, 3, stride=2, padding=1, seed=0),
        lambda: torch.nn.Conv2d(3, 4, 3, stride=2, padding=1, dtype=d),
        kernel,
        channels_first,
        (2, 6, 7, 3),
    ),
    "Conv2D, groups": (
        lambda: nn.Conv2D(4, 6, (3, 2), dilation=2, groups=2, seed=0),
        lambda: torch.nn.Conv2d(4, 6, (3, 2), dilation=2, groups=2, dtype=d),
        kernel,
        channels_first,
        (2, 6, 7, 4),
    ),
    "Conv2D, same": (
        lambda: nn.Conv2D(2, 3, 4, padding="same", seed=0),
        lambda: torch.nn.Conv2d(2, 3, 4, padding="same", dtype=d),
        kernel,
        channels_first,
        (2, 6, 7, 2),
    ),
    "Conv1D": (
        lambda: nn.Conv1D(3, 4, 3, padding=1, seed=0),
        lambda: torch.nn.Conv1d(3, 4, 3, padding=1, dtype=d),
        kernel,
        channels_first,
        (2, 6, 3),
    ),
    "MaxPool": (lambda: nn.MaxPool(2), lambda: torch.nn.MaxPool2d(2), nothing, channels_first, (2, 4, 6, 3)),
    "AvgPool": (
        lambda: nn.AvgPool(3, 2, 1),
        lambda: torch.nn.AvgPool2d(3, 2, 1),
        nothing,
        channels_first,
        (2, 5, 7, 3),
    ),
    "Upsample": (
        lambda: nn.Upsample(2, "bilinear"),
        lambda: torch.nn.Upsample(scale_factor=2, mode="bilinear"),
        nothing,
        channels_first,
        (2, 3, 4, 2),
    ),
    "BatchNorm": (lambda: nn.BatchNorm(3), lambda: torch.nn.BatchNorm1d(3, dtype=d), norm, lambda m, x: m(x), (5, 3)),
    "BatchNorm, images": (
        lambda: nn.BatchNorm(3),
        lambda: torch.nn.BatchNorm2d(3, dtype=d),
        norm,
        channels_first,
        (2, 4, 5, 3),
    ),
    "LayerNorm": (lambda: nn.LayerNorm(4), lambda: torch.nn.LayerNorm(4, dtype=d), norm, lambda m, x: m(x), (2, 3, 4)),
    "RMSNorm": (
        lambda: nn.RMSNorm(4),
        lambda: torch.nn.RMSNorm(4, eps=1e-6, dtype=d),
        norm,
        lambda m, x: m(x),
        (2, 3, 4),
    ),
    "GroupNorm": (
        lambda: nn.GroupNorm(2, 4),
        lambda: torch.nn.GroupNorm(2, 4, dtype=d),
        norm,
        channels_first,
        (2, 3, 3, 4),
    ),
    "SimpleRNN": (
        lambda: nn.SimpleRNN(3, 4, seed=0),
        lambda: torch.nn.RNN(3, 4, batch_first=True, dtype=d),
        recurrent,
        lambda m, x: m(x)[0],
        (2, 5, 3),
    ),
    "GRU": (
        lambda: nn.GRU(3, 4, seed=0),
        lambda: torch.nn.GRU(3, 4, batch_first=True, dtype=d),
        recurrent,
        lambda m, x: m(x)[0],
        (2, 5, 3),
    ),
    "LSTM": (
        lambda: nn.LSTM(3, 4, last=True, seed=0),
        lambda: torch.nn.LSTM(3, 4, batch_first=True, dtype=d),
        recurrent,
        lambda m, x: m(x)[0][:, -1],
        (2, 5, 3),
    ),
    "MultiHeadAttention": (
        lambda: nn.MultiHeadAttention(6, 2, seed=0),
        lambda: torch.nn.MultiheadAttention(6, 2, batch_first=True, dtype=d),
        attention,
        lambda m, x: attend(m, x, False),
        (2, 5, 6),
    ),
    "MultiHeadAttention, causal": (
        lambda: nn.MultiHeadAttention(6, 3, causal=True, seed=0),
        lambda: torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=d),
        attention,
        lambda m, x: attend(m, x, True),
        (2, 5, 6),
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_layer(name: str, training: bool) -> None:
    make, make_theirs, copy, call, shape = CASES[name]
    layer, theirs = make(), make_theirs()
    copy(layer, theirs)
    layer.train(training)
    theirs.train(training)
    for _ in range(2):
        x = RNG.normal(size=shape)
        ours, other = vector.Tensor(x), torch.tensor(x, requires_grad=True)
        out, expected = layer(ours), call(theirs, other)
        np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    g, v = RNG.normal(size=out.shape), RNG.normal(size=shape)
    found = vector.grad(out, [ours, *layer.parameters()], create_graph=True, gradient=g)
    slopes = torch.autograd.grad(expected, [other, *theirs.parameters()], torch.tensor(g), create_graph=True)
    np.testing.assert_allclose(found[0].data, slopes[0].detach().numpy(), rtol=1e-10, atol=1e-12)
    sizes = sorted(float((s.detach() ** 2).sum()) for s in slopes[1:])
    np.testing.assert_allclose(sorted(float((f.data**2).sum()) for f in found[1:]), sizes, rtol=1e-9)
    second = vector.grad(vector.sum(found[0] * v), ours)
    wanted = np.zeros(shape)  # where it is linear PyTorch has no graph
    if slopes[0].requires_grad:
        along = torch.autograd.grad((slopes[0] * torch.tensor(v)).sum(), other, allow_unused=True)[0]
        wanted = wanted if along is None else along.numpy()
    np.testing.assert_allclose(second, wanted, rtol=1e-9, atol=1e-10)
    if "BatchNorm" in name:
        np.testing.assert_allclose(layer.mean.data, theirs.running_mean.numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(layer.variance.data, theirs.running_var.numpy(), rtol=1e-12)


def test_an_embedding() -> None:
    layer, theirs = nn.Embedding(7, 3, seed=0), torch.nn.Embedding(7, 3, dtype=d)
    put(theirs, "weight", layer.weight.data)
    x = RNG.integers(0, 7, (2, 4))
    out, expected = layer(x), theirs(torch.tensor(x))
    g = RNG.normal(size=out.shape)
    out.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_array_equal(out.data, expected.detach().numpy())
    np.testing.assert_allclose(layer.weight.grad, theirs.weight.grad.numpy(), rtol=1e-14)


def test_a_hundred_steps_of_a_recurrent_net() -> None:
    model = nn.Sequential(nn.GRU(3, 8, last=True, seed=0), nn.Dense(8, 2, seed=1))
    gru, dense = torch.nn.GRU(3, 8, batch_first=True, dtype=d), torch.nn.Linear(8, 2, dtype=d)
    recurrent(model[0], gru)
    put(dense, "weight", model[1].weight.data.T)
    put(dense, "bias", model[1].bias.data)
    ours, theirs = (
        optim.Adam(model.parameters(), 0.01),
        torch.optim.Adam([*gru.parameters(), *dense.parameters()], 0.01),
    )
    step = vector.compile(model.train_step(ours, vector.cross_entropy))
    for _ in range(100):
        x, y = RNG.normal(size=(4, 6, 3)), RNG.integers(0, 2, 4)
        loss, _ = step(x, y)
        expected = torch.nn.functional.cross_entropy(dense(gru(torch.tensor(x))[0][:, -1]), torch.tensor(y))
        theirs.zero_grad()
        expected.backward()
        theirs.step()
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-9)


def test_a_hundred_steps_of_a_transformer_block() -> None:
    width = 8

    def block(seed: int) -> Any:
        attend = nn.MultiHeadAttention(width, 2, causal=True, seed=seed)
        hidden = nn.Dense(width, 16, "relu", seed=seed + 2)
        return nn.Sequential(
            nn.Residual(nn.LayerNorm(width), attend),
            nn.Residual(nn.LayerNorm(width), hidden, nn.Dense(16, width, seed=seed + 3)),
            nn.Lambda(lambda x: vector.mean(x, axis=1)),
        )

    model = block(0)
    theirs = torch.nn.TransformerEncoderLayer(width, 2, 16, 0.0, batch_first=True, norm_first=True, dtype=d)
    first, second = model[0].layers, model[1].layers
    norm(first[0], theirs.norm1)
    attention(first[1], theirs.self_attn)
    norm(second[0], theirs.norm2)
    for ours, other in ((second[1], theirs.linear1), (second[2], theirs.linear2)):
        put(other, "weight", ours.weight.data.T)
        put(other, "bias", ours.bias.data)
    update, other_update = optim.SGD(model.parameters(), 0.05), torch.optim.SGD(theirs.parameters(), 0.05)
    step = vector.compile(model.train_step(update, vector.mse))
    mask = torch.triu(torch.full((5, 5), -torch.inf, dtype=d), 1)
    for _ in range(100):
        x, y = RNG.normal(size=(3, 5, width)), RNG.normal(size=(3, width))
        loss, _ = step(x, y)
        expected = ((theirs(torch.tensor(x), src_mask=mask).mean(1) - torch.tensor(y)) ** 2).mean()
        other_update.zero_grad()
        expected.backward()
        other_update.step()
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-9)


def test_a_hundred_steps_of_a_convnet() -> None:
    model = nn.Sequential(
        nn.Conv2D(1, 4, 3, padding=1, bias=False, seed=0),
        nn.BatchNorm(4),
        nn.Lambda(vector.relu),
        nn.MaxPool(2),
        nn.Conv2D(4, 8, 3, "relu", seed=1),
        nn.GlobalAveragePool(),
        nn.Dense(8, 3, seed=2),
    )
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, bias=False, dtype=d),
        torch.nn.BatchNorm2d(4, dtype=d),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(4, 8, 3, dtype=d),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3, dtype=d),
    )
    put(theirs[0], "weight", model[0].weight.data.transpose(3, 2, 0, 1))
    norm(model[1], theirs[1])
    kernel(model[4], theirs[4])
    put(theirs[8], "weight", model[6].weight.data.T)
    put(theirs[8], "bias", model[6].bias.data)
    ours, other = optim.AdamW(model.parameters(), 0.01), torch.optim.AdamW(theirs.parameters(), 0.01)
    step = vector.compile(model.train_step(ours, vector.cross_entropy))
    for _ in range(100):
        x, y = RNG.normal(size=(6, 8, 8)), RNG.integers(0, 3, 6)
        loss, _ = step(x, y)
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x[:, None])), torch.tensor(y))
        other.zero_grad()
        expected.backward()
        other.step()
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-9)
    np.testing.assert_allclose(model[1].mean.data, theirs[1].running_mean.numpy(), rtol=1e-8)
