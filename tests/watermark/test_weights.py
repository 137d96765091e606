"""Bits in weights: the regulariser's formula and where its gradient goes, bits that are there, and null bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from labkit.watermark import Key
from labkit.watermark.attacks.removal import remove
from labkit.watermark.marks import weights
from labkit.watermark.verification.verify import verify_bits


def test_the_loss_is_the_papers_formula(small, key):
    model = small()
    layer = weights.default_layer(model)
    matrix = weights.projection(key, 8, 144)
    message = weights.owned(key, 8)
    kernel = model.get_submodule(layer).weight.detach().numpy().astype(np.float64)
    sigmoid = 1 / (1 + np.exp(-(matrix.numpy().astype(np.float64) @ kernel.mean(0).ravel())))
    expected = -np.mean(message * np.log(sigmoid) + (1 - message) * np.log(1 - sigmoid))
    loss = weights.BitLoss(layer, matrix, torch.from_numpy(message).float(), 0.5)
    assert float(loss(model, 0).detach()) == pytest.approx(0.5 * expected, rel=1e-5)


def test_the_gradient_reaches_that_layer_alone(small, key):
    model = small()
    loss = weights.BitLoss("5", weights.projection(key, 8, 72), torch.ones(8), 1.0)
    loss(model, 0).backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert touched == {"5.weight"}


def test_all_bits_are_read_back_and_the_task_is_learnt(bars, small, short, key):
    done = weights.mark_weights(small(), bars, key, recipe=short, bits=32, weight=1.0)
    assert done.strength.estimate == 1
    assert done.triggers is None
    assert np.array_equal(weights.read(done.model, key, bits=32), weights.owned(key, 32))
    assert done.facts["layer"] == weights.default_layer(done.model)
    # 32 bits under another key: 27 or more right by chance with probability 1e-4; the key is fixed anyway.
    other = Key.from_phrase("someone else's")
    assert (weights.read(done.model, other, bits=32) == weights.owned(other, 32)).sum() < 27


def test_an_unmarked_model_answers_by_chance(small):
    model = small()
    rights = [
        np.mean(weights.read(model, k, bits=32) == weights.owned(k, 32))
        for k in (Key.from_phrase(f"null {i}") for i in range(40))
    ]
    assert 0.44 < np.mean(rights) < 0.56  # 4 standard errors of 1,280 fair bits


def test_p_of_innocents_is_uniform_or_larger_over_keys(bars, small, short):
    """400 keys on a trained and an untrained network: P[p <= t] <= t; a false alarm has probability below 1e-6 each."""
    trained = weights.training.train(small(), bars.train_x, bars.train_y, short, seed=1)[0]
    keys = [Key.from_phrase(f"owner {i}") for i in range(200)]
    for innocent in (trained, small()):
        p = np.array([verdict_of(innocent, one).p_value for one in keys])
        for t in (0.01, 0.05, 0.1, 0.2, 0.5):
            assert binom.sf((p <= t).sum() - 1, len(p), t) > 1e-6
        assert 0.4 < p.mean() < 0.7  # neither never nor always near 1: 32 fair bits have a mean p of .57


def test_a_mark_is_found_after_pruning_and_after_training_on(bars, small, short, key):
    done = weights.mark_weights(small(), bars, key, recipe=short, bits=32, weight=1.0)
    settings = {"seed": 0, "records": 200}
    attacked = {
        "prune": remove("prune", done.model, bars, share=0.5),
        "fine-tune all": remove("fine-tune all", done.model, bars, **settings),
    }
    for name, model in attacked.items():
        assert verdict_of(model, key).p_value < 1e-3, name
        assert verdict_of(model, Key.from_phrase("someone else's")).p_value > 1e-3, name


def verdict_of(model, key):
    """Return what 32 bits say; the null models are no part of p, so two that read nothing do."""
    message, nothing = weights.owned(key, 32), np.zeros((2, 32), np.int64)
    return verify_bits(weights.read(model, key, bits=32), message, nothing, minimum=2)


def test_bits_survive_small_noise_on_the_weights(bars, small, short, key):
    done = weights.mark_weights(small(), bars, key, recipe=short, bits=32, weight=1.0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in done.model.parameters():
            p += 0.05 * p.std() * torch.randn(p.shape, generator=generator)
    assert np.array_equal(weights.read(done.model, key, bits=32), weights.owned(key, 32))


def test_refusals_name_what_would_do(bars, small, short, key):
    with pytest.raises(ValueError, match=r"layer 'conv9' is unknown; expected one of 2, 5"):
        weights.read(small(), key, layer="conv9")
    with pytest.raises(ValueError, match="expected 1 to 144"):
        weights.mark_weights(small(), bars, key, recipe=short, bits=1000)
    with pytest.raises(ValueError, match="weight is 0"):
        weights.mark_weights(small(), bars, key, recipe=short, weight=0)
    with pytest.raises(ValueError, match="at least 2"):
        weights.default_layer(torch.nn.Sequential(torch.nn.Linear(2, 2)))
