"""Own training functions, own logits and own scores: attacks find in them what they find in the kit's own banks."""

import numpy as np
import pytest
import torch
from torch import nn

from labkit import data, membership, training
from labkit.membership.attacks.registry import LABEL_ALONE

RECIPE = training.Recipe(epochs=12, learning_rate=0.2, batch_size=16)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("LABKIT_PROGRESS", "0")


@pytest.fixture(scope="module")
def noisy():
    """240 rows whose labels are half noise: whoever fits them has memorised."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(320, 12))
    y = (x[:, 0] + 1.5 * rng.normal(size=320) > 0).astype(int)
    return data.Dataset.from_numpy(x, y, test_share=0.25, name="noisy", real=False)


def perceptron():
    return nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 2))


def own_loop(x, y, seed):
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def forest(x, y, seed):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(30, random_state=seed).fit(x.numpy(), y.numpy())


@pytest.mark.parametrize("train", [own_loop, forest])
def test_a_bank_of_models_that_an_own_function_trained(noisy, train, monkeypatch):
    bank = membership.shadow_bank(noisy, train=train, shadow_models=8)
    again = membership.shadow_bank(noisy, train=train, shadow_models=8)
    assert again.seconds == 0  # kept, and found by the function's code
    assert np.array_equal(again.logits(3), bank.logits(3))
    assert torch.allclose(
        training.logits(bank.model(3), bank.x), torch.tensor(bank.logits(3)[:, 0]), atol=1e-5
    )
    (target,) = membership.train_targets(bank, seeds=[5])
    found = membership.attack("lira-online", target, bank)
    auc = found.report(permutations=40).auc
    assert auc.low > 0.6  # a model that fits noise leaks
    assert membership.attack("loss", bank.target(0), bank.without(0)).report(permutations=40).auc.low > 0.6


def test_an_estimator_is_a_victim_of_label_only_attacks_too(noisy):
    bank = membership.shadow_bank(noisy, train=forest, shadow_models=4)
    half = bank.masks[0]
    fitted = forest(bank.x[half], bank.y[half], 9)
    target = bank.query(fitted, half, name="forest")
    found = membership.attack("label-noise", target, bank.without(0), copies=1, levels=(0.1,))
    assert np.isfinite(found.scores).all()


def test_what_train_may_be_and_return(noisy):
    with pytest.raises(ValueError, match=r"got neither; expected make_model= and recipe=, or train="):
        membership.shadow_bank(noisy)
    with pytest.raises(ValueError, match="got make_model, recipe, train"):
        membership.shadow_bank(noisy, make_model=perceptron, recipe=RECIPE, train=own_loop)
    with pytest.raises(TypeError, match="returned None: return the fitted model"):
        membership.shadow_bank(noisy, train=lambda x, y, seed: None, shadow_models=2)
    with pytest.raises(ValueError, match=r"answers two records with \(2, 5\); expected \(2, 2\)"):
        membership.shadow_bank(noisy, train=lambda x, y, seed: nn.Linear(12, 5), shadow_models=2)
    with pytest.raises(ValueError, match="no recipe to defend"):
        membership.compare_defences(
            membership.shadow_bank(noisy, train=lambda x, y, s: nn.Linear(12, 2), shadow_models=4)
        )


@pytest.fixture(scope="module")
def bank(noisy, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("LABKIT_CACHE", str(tmp_path_factory.mktemp("bank")))
    made = membership.shadow_bank(noisy, make_model=perceptron, recipe=RECIPE, shadow_models=6)
    # In memory: the folder of another test's cache is gone.
    logits = np.stack([np.array(made.logits(k)) for k in range(len(made))])
    outside = np.stack([np.array(made.logits(k, part="population")) for k in range(len(made))])
    target = made.target(0)
    patch.undo()
    return made, logits, outside, target


@pytest.mark.parametrize("name", [n for n in membership.ATTACKS if not n.startswith("label")])
def test_a_bank_of_logits_scores_as_the_bank_that_answered(bank, name):
    made, logits, outside, target = bank
    own = membership.ShadowBank.from_logits(
        logits[2:],
        made.masks[2:],
        made.labels,
        population=outside[2:],
        population_y=made.population_labels,
        x=made.x,
        population_x=made.population_x,
    )
    asked = own.answered(logits[0], made.masks[0], population=outside[0])
    assert np.allclose(
        membership.attack(name, asked, own).scores, membership.attack(name, target, made.without(0)).scores
    )


def logit_confidences(logits, labels):
    values = [membership.signal("logit-confidence", one, labels)[:, 0] for one in logits]
    return np.stack(values)


@pytest.mark.parametrize("scale", ["confidence", "loss", "logit-confidence"])
def test_a_bank_of_scores_gives_what_reads_no_more_than_the_label(bank, scale):
    made, logits, outside, target = bank
    convert = {
        "confidence": lambda s: 1 / (1 + np.exp(-s)),
        "loss": lambda s: np.logaddexp(0, -s),
        "logit-confidence": lambda s: s,
    }
    pool, others = (
        convert[scale](logit_confidences(part, labels))
        for part, labels in ((logits, made.labels), (outside, made.population_labels))
    )
    own = membership.ShadowBank.from_scores(
        pool[2:],
        made.masks[2:],
        made.labels,
        scale=scale,
        population=others[2:],
        population_y=made.population_labels,
    )
    asked = own.answered(pool[0], made.masks[0], population=others[0])
    for name in LABEL_ALONE:
        here, there = (
            membership.attack(name, *pair).scores for pair in ((asked, own), (target, made.without(0)))
        )
        assert np.allclose(here, there, rtol=1e-3, atol=1e-3), name
    with pytest.raises(ValueError, match="reads more than the label's probability"):
        membership.attack("gap", asked, own)


def test_what_arrays_may_be(bank):
    made, logits, _, _ = bank
    build = membership.ShadowBank.from_logits
    with pytest.raises(ValueError, match=r"int64 \(6, 240\); expected bool .*astype\(bool\)"):
        build(logits, made.masks.astype(int), made.labels)
    with pytest.raises(ValueError, match="these answers are probabilities"):
        build(torch.tensor(logits).softmax(-1).numpy(), made.masks, made.labels)
    with pytest.raises(ValueError, match=r"y is int64 \(239,\)"):
        build(logits, made.masks, made.labels[:-1])
    own = build(logits, made.masks, made.labels)
    with pytest.raises(ValueError, match="this bank has none: pass population="):
        membership.attack("rmia-online", own.target(0), own.without(0))
    with pytest.raises(ValueError, match="made of answers alone: pass x="):
        membership.attack("blind", own.target(0), own.without(0))
    with pytest.raises(ValueError, match="is among the shadow models"):
        membership.attack("lira-online", own.target(0), own)
    with pytest.raises(ValueError, match=r"inside \(0, 1\): where they round"):
        membership.ShadowBank.from_scores(np.ones((2, 4)), np.eye(2, 4) > 0, scale="confidence")


def test_a_report_of_scores_alone():
    from labkit.membership import AttackResult

    rng, inside = np.random.default_rng(1), np.arange(2000) < 1000
    report = AttackResult.from_scores(
        rng.normal(size=2000) + inside, inside, labels=np.arange(2000) % 3
    ).report()
    assert 0.7 < report.auc.estimate < 0.8
    assert list(report.by_group().index) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="expected bool"):
        AttackResult.from_scores(rng.normal(size=4), [0, 1, 0, 1])


def test_null_models_of_an_own_function(noisy):
    from labkit import watermark

    nulls = watermark.null_models(noisy, train=forest, count=2)
    assert watermark.answers(nulls[0], noisy.test_x).shape == (80,)
    assert not np.array_equal(*(watermark.answers(null, noisy.test_x) for null in nulls))
    fitted = forest(noisy.train_x, noisy.train_y, 3)
    assert np.array_equal(watermark.answers(fitted, noisy.test_x), fitted.predict(noisy.test_x.numpy()))


def test_an_audit_takes_an_own_function(noisy):
    from labkit import audit

    result = audit.audit_one_run(training.on_dataset(forest), noisy, canary_count=60, claimed=0.5, delta=1e-3)
    assert "one run, black-box, 60" in str(result.method)
