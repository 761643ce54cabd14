"""Layers of `vector` by themselves."""

import numpy as np
import pytest

import vector
from vector import nn


@pytest.mark.parametrize("activation", ["tanh", "relu", "softmax", "log_softmax", "leaky_relu", lambda x: x * x, None])
def test_a_network_passes_gradcheck(activation):
    model = nn.Sequential(nn.Dense(2, 3, activation, seed=1), nn.Dense(3, 2, seed=2))
    samples = np.array([[0.5, -0.3], [0.9, 0.2]])
    assert vector.gradcheck(lambda *_: vector.cross_entropy(model(samples), [0, 1]), model.parameters())
    assert vector.gradcheck(lambda *_: vector.mse(model(samples), [[1.0, 0.0]] * 2), model.parameters())


def test_initializers():
    """he_normal has mean 0 and variance 2 / n_in, within 5 standard errors of those of so many numbers."""
    weights = nn.Dense(300, 200, seed=0, init=nn.he_normal).weight.data
    assert weights.shape == (300, 200)
    variance, n = 2 / 300, weights.size
    assert abs(weights.mean()) < 5 * np.sqrt(variance / n)
    assert abs(weights.var() / variance - 1.0) < 5 * np.sqrt(2 / n)
    layer = nn.Dense(3, 2, seed=0, init=nn.zeros)
    assert np.array_equal(layer(np.ones((4, 3))).data, np.zeros((4, 2)))


def test_layers_name_what_they_cannot_take():
    with pytest.raises(ValueError, match=r"Flatten: expected a batch of samples, got shape \(\)"):
        nn.Flatten()(vector.Tensor(1.0))
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="Dropout: expected a rate from 0 to below 1, got"):
            nn.Dropout(rate)


def test_dropout_drops_while_training():
    """With a graph or without one, for arrays and tensors; the mean of the others stays."""
    drop, x = nn.Dropout(0.25, seed=0), np.ones((50, 40), np.float32)
    for dropped in (drop(x), drop(vector.Tensor(x)).data):
        assert dropped.dtype == np.float32 and set(np.unique(dropped)) == {np.float32(0.0), np.float32(1.0 / 0.75)}
        assert abs((dropped == 0.0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / x.size)
    with vector.no_grad():
        assert not drop(vector.Tensor(x)).data.all()
    drop.eval()
    assert drop(x) is x
    assert nn.Dropout(0.0)(x) is x


@pytest.mark.parametrize("widths", [(0, 2), (2, 0), (-1, 2)])
def test_a_dense_layer_of_no_width(widths):
    with pytest.raises(ValueError, match=r"Dense: expected widths of at least 1, got -?\d and \d"):
        nn.Dense(*widths)
