"""Every layer of `vector.nn` has a twin in Values: each alone with many settings, and mistakes that both name alike."""

import numpy as np
import pytest
import twins
from bounds import errors, slopes
from engines import compare, flat
from layer_networks import Network, Pair
from mistakes import alike

import scalar
import vector

ALONE = {
    "Dense(3, 2, 'tanh', seed=1)": (4, 3),
    "Dense(3, 2, bias=False, seed=1)": (2, 3, 3),
    "Conv2D(2, 3, 3, padding=1, seed=1)": (2, 3, 3, 2),
    "Conv2D(2, 4, (2, 3), 'tanh', (2, 1), (0, 1), (1, 2), 2, seed=1)": (2, 5, 4, 2),
    "Conv2D(4, 4, (2, 3), groups=2, padding='same', dilation=2, bias=False, seed=1)": (1, 3, 4, 4),
    "Conv1D(4, 6, 2, 'sigmoid', 2, 1, 2, 2, seed=1)": (2, 7, 4),
    "Conv1D(2, 3, 2, padding='same', bias=False, seed=1)": (2, 5, 2),
    "MaxPool(2)": (2, 4, 5, 2),
    "MaxPool((2, 3), (1, 2), 1)": (2, 4, 5, 2),
    "MaxPool(3, 2, 1)": (2, 5, 2),
    "AvgPool(2)": (2, 5, 2),
    "AvgPool((2, 3), (1, 2), 1)": (2, 4, 5, 2),
    "GlobalAveragePool()": (2, 3, 2, 2),
    "BatchNorm(3)": (4, 3),
    "BatchNorm(3, 0.3, 0.01)": (2, 3, 2, 3),
    "LayerNorm(4)": (3, 4),
    "LayerNorm(4, 0.1)": (2, 2, 2, 4),
    "RMSNorm(4)": (3, 4),
    "RMSNorm(3, 0.1)": (2, 2, 3),
    "GroupNorm(2, 4)": (3, 4),
    "GroupNorm(2, 4, 0.1)": (2, 2, 3, 4),
    "Upsample(2)": (2, 3, 2, 2),
    "Upsample((3, 2), 'bilinear')": (2, 3, 1, 2),
    "Residual(nn.Dense(3, 3, seed=1), nn.Lambda(E.sin))": (2, 3),
    "Flatten()": (2, 3, 2),
    "Reshape(3, -1)": (2, 2, 6),
    "Lambda(E.tanh)": (2, 3, 2),
    "Dropout(0.4, seed=1)": (2, 3, 4),
    "SimpleRNN(3, 2, seed=1)": (2, 3, 3),
    "GRU(3, 2, seed=1)": (2, 3, 3),
    "LSTM(3, 2, last=True, seed=1)": (2, 3, 3),
    "MultiHeadAttention(4, 2, seed=1)": (2, 3, 4),
    "MultiHeadAttention(4, 4, True, False, seed=1)": (1, 3, 4),
    "Embedding(4, 3, seed=1, scale=0.5)": (2, 3),
}


def test_every_layer_is_tried():
    layers = {name for name in vector.nn.__all__ if isinstance(getattr(vector.nn, name), type)} - {
        "Layer",
        "Sequential",
    }
    assert layers == {text.partition("(")[0] for text in ALONE}
    assert all(hasattr(twins, name) for name in layers)


@pytest.mark.parametrize("text", ALONE)
def test_a_layer_alone(text):
    """Outputs and gradients in training and evaluation, and what BatchNorm keeps."""
    pair = Pair(Network(f"nn.{text}", ALONE[text], count=4 if "Embedding" in text else 0))
    for training in (True, False):
        pair.train(training)
        slow, fast = pair.slow(pair.slow_x), pair.fast(pair.fast_x)
        weights = np.random.default_rng(1).normal(size=fast.shape)
        slow_slopes = slopes(scalar, scalar.dot(flat(slow), weights.ravel().tolist()), pair.slow_inputs)
        fast_slopes = slopes(vector, vector.sum(fast * weights), pair.fast_inputs)
        e_slow, e_fast = errors([*flat(slow), *slow_slopes]), errors([fast, *fast_slopes])
        compare("output", flat(slow), [fast], e_slow, e_fast)
        compare("gradient", slow_slopes, fast_slopes, e_slow, e_fast)
        pair.compare_buffers()
    name = text.partition("(")[0]
    if hasattr(scalar.nn, name):
        assert repr(pair.slow) == repr(pair.fast)


def test_one_sample_is_as_good_as_a_batch():
    for text in ("Dense(2, 3)", "LayerNorm(2)", "GRU(2, 3)", "Conv2D(2, 3, 2)", "MultiHeadAttention(2, 1)"):
        layer = eval(f"scalar.nn.{text}")
        x = np.random.default_rng(0).normal(size=(3, 3, 3, 2) if "Conv" in text else (3, 3, 2)).tolist()
        assert [v.data for v in flat(layer(x[1]))] == [v.data for v in flat(layer(x)[1])]
    row = scalar.nn.Embedding(4, 2)
    assert row(3) is row.weight[3] and row([[1], [3]]) == [[row.weight[1]], [row.weight[3]]]


def test_no_place_sees_a_later_one():
    layer, x = scalar.nn.MultiHeadAttention(2, 1, causal=True, seed=0), [[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]]
    assert [v.data for v in layer(x)[0]] == [v.data for v in layer(x[:1])[0]]
    assert [v.data for v in layer(x)[1]] == [v.data for v in layer(x[:2])[1]] != [v.data for v in layer(x[1:2])[0]]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_hides_the_same_places_in_both_engines(causal, seed):
    rng = np.random.default_rng(seed)
    x, mask = rng.normal(size=(4, 6)), rng.random((4, 4)) < 0.5
    np.fill_diagonal(mask, True)
    here, there = (engine.nn.MultiHeadAttention(6, 2, causal, seed=seed) for engine in (scalar, vector))
    expected = there(x[None], mask).data[0]
    assert np.allclose([[v.data for v in row] for row in here(x.tolist(), mask.tolist())], expected, rtol=1e-12)
    assert not np.allclose(expected, there(x[None]).data[0])


def test_a_place_that_sees_none_and_a_mask_of_another_shape():
    layer, x = scalar.nn.MultiHeadAttention(2, 1, seed=0), [[1.0, 2.0], [3.0, -1.0]]
    with pytest.raises(ValueError, match="a mask by which each place sees one, got none for 1"):
        layer(x, [[True, True], [False, False]])
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 2\), got \(1, 2\)"):
        layer(x, [[True, True]])


MISTAKES = {
    "groups": (lambda E, A: E.nn.Conv2D(3, 4, 2, groups=2), "Conv2D: expected channels and filters in 2 groups"),
    "no kernel": (
        lambda E, A: E.nn.Conv2D(3, 4, 0),
        "Conv2D: expected a size of at least 1, for each of 2 axes, got 0",
    ),
    "no features": (lambda E, A: E.nn.RMSNorm(0), "RMSNorm: expected at least 1 feature, got 0"),
    "other features": (
        lambda E, A: E.nn.LayerNorm(3)(A([[1.0, 2.0]])),
        "LayerNorm: expected 3 features along the last",
    ),
    "one sample": (
        lambda E, A: E.nn.BatchNorm(2)(A([[1.0, 2.0]])),
        "BatchNorm: expected more than one number a feature",
    ),
    "no width": (
        lambda E, A: E.nn.Embedding(3, 0),
        "Embedding: expected a count and a width of at least 1, got 3 and 0",
    ),
    "no states": (lambda E, A: E.nn.GRU(3, 0), "GRU: expected widths of at least 1, got 3 and 0"),
    "heads": (lambda E, A: E.nn.MultiHeadAttention(3, 2), "MultiHeadAttention: expected heads that divide the width 3"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    mistake, message = MISTAKES[name]
    alike(lambda E, N, A: mistake(E, A), ValueError, message)


def test_mistakes_in_shapes():
    for layer, x, message in (
        (scalar.nn.Conv2D(2, 3, 2), [[[1.0]]], r"Conv2D: expected shape \(h, w, 2\), got \(1, 1, 1\)"),
        (
            scalar.nn.Conv2D(1, 3, 2),
            [[[1.0]]],
            r"Conv2D: expected a kernel within the image, got \(2, 2\) and \(1, 1\)",
        ),
        (scalar.nn.GRU(2, 3), [1.0, 2.0], r"GRU: expected shape \(steps, 2\), got \(2,\)"),
        (
            scalar.nn.MultiHeadAttention(2, 1),
            [[1.0]],
            r"MultiHeadAttention: expected shape \(places, 2\), got \(1, 1\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            layer(x)
    with pytest.raises(ValueError, match='Conv2D: expected stride 1 with padding "same", got 2'):
        scalar.nn.Conv2D(1, 1, 2, stride=2, padding="same")
    with pytest.raises(IndexError):
        scalar.nn.Embedding(2, 3)([2])
    with pytest.raises(TypeError):
        scalar.nn.Embedding(2, 3)([0.5])
