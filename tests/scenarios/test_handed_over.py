"""The model that lab 04 hands over: what ships is what its provenance says, and where nothing fits it is trained."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from labkit import data, models, profiles
from labkit.membership import balanced_masks
from labkit.membership.shadows.presets import preset
from labkit.scenarios import handed_over

FOLDER = handed_over.folder()


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    """Noise shaped like digits, enough of it for the smoke profile."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(1500, 1, 28, 28, generator=generator), torch.arange(1500) % 10
    names = tuple("0123456789")
    return data.Dataset(
        "mnist", "noise (made in the test)", False, x[:1000], y[:1000], x[1000:], y[1000:], names
    )


@pytest.fixture
def case(digits: data.Dataset) -> handed_over.Case:
    return handed_over.case(digits, profile=profiles.Profile("smoke"))


def test_the_checkpoint_is_what_its_provenance_says() -> None:
    facts = json.loads((FOLDER / f"{handed_over.NAME}.json").read_text(encoding="utf-8"))
    path = FOLDER / f"{handed_over.NAME}.pt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == facts["sha256"]
    assert path.stat().st_size < 400_000
    settings = preset("mnist", profiles.Profile("laptop"))
    # Were these to differ, the checkpoint would fit nowhere, and every learner would train the model.
    assert facts["recipe"] == asdict(settings.recipe)
    assert facts["pool"] == settings.pool
    assert facts["seed"] == handed_over.SEED
    state = handed_over.shipped(facts["identity"])
    settings.make_model().load_state_dict(state)


def test_it_fits_real_mnist_at_the_laptop_profile() -> None:
    try:
        real = data.load("mnist", source="real")
    except data.DataError:
        pytest.skip("no real MNIST here")
    given = handed_over.case(real, profile=profiles.Profile("laptop")).handed_over()
    facts = json.loads((FOLDER / f"{handed_over.NAME}.json").read_text(encoding="utf-8"))
    assert given.origin == f"checkpoint {handed_over.NAME}.pt"
    # Another machine may round one of 10,000 answers another way.
    assert given.accuracy.estimate == pytest.approx(
        float(facts["test accuracy"].split("%")[0]) / 100, abs=5e-4
    )
    assert facts["trained on"] == given.reveal().sum() == 2000


def test_it_fits_whatever_this_torch_prints_of_a_layer_and_no_other_network(
    case: handed_over.Case, monkeypatch
) -> None:
    here = case.identity
    wider = replace(case.settings, make_model=lambda: models.strided_cnn(16, channels=1, size=28))
    deeper = replace(
        case.settings, make_model=lambda: torch.nn.Sequential(case.settings.make_model(), torch.nn.ReLU())
    )
    assert len({here, replace(case, settings=wider).identity, replace(case, settings=deeper).identity}) == 3
    monkeypatch.setattr(torch.nn.GroupNorm, "extra_repr", lambda self: "as another version prints it")
    assert case.identity == here


def test_a_damaged_checkpoint_is_refused(tmp_path, case: handed_over.Case) -> None:
    state = case.settings.make_model().state_dict()
    torch.save(state, tmp_path / f"{handed_over.NAME}.pt")
    (tmp_path / f"{handed_over.NAME}.json").write_text(json.dumps({"identity": "a", "sha256": "0" * 64}))
    assert handed_over.shipped("another", tmp_path) is None
    with pytest.raises(ValueError, match="is damaged"):
        handed_over.shipped("a", tmp_path)


def test_elsewhere_the_model_is_trained_once_and_says_so(
    case: handed_over.Case, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    first = case.handed_over()
    assert "training the model to attack" in capsys.readouterr().err
    assert "trained here" in repr(first)
    again = case.handed_over()
    assert capsys.readouterr().err == ""
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    members = first.reveal()
    assert members.sum() == len(members) // 2
    # It remembers its members, wrong labels included, and not the others: 20 epochs on noise with a fixed seed.
    right = first.model(case.x).argmax(1).numpy() == case.y.numpy()
    assert right[members].mean() > 0.9 > 0.3 > right[~members].mean()
    assert not (balanced_masks(16, len(members)) == members).all(1).any()


def test_a_wheel_without_checkpoints_trains(case: handed_over.Case, monkeypatch) -> None:
    monkeypatch.setattr(handed_over, "folder", lambda: None)
    assert handed_over.shipped(case.identity) is None


def test_the_command_writes_a_checkpoint_that_loads(case: handed_over.Case, tmp_path) -> None:
    quick = replace(case.settings, recipe=replace(case.settings.recipe, epochs=1))
    case = replace(case, settings=quick)
    path = handed_over.make_checkpoint(case, tmp_path)
    state = handed_over.shipped(case.identity, tmp_path)
    assert set(state) == set(case.settings.make_model().state_dict())
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["source"] == case.dataset.source
    assert handed_over.make_checkpoint(case, tmp_path / "again").read_bytes() == path.read_bytes()


def test_wrong_labels_are_wrong_and_few(digits: data.Dataset) -> None:
    changed, wrong = handed_over.mislabel(digits, 0.1, seed=3)
    assert ((changed.train_y != digits.train_y).numpy() == wrong).all()
    assert 70 <= wrong.sum() <= 130  # fixed seed; 100 expected
    assert len(np.unique((changed.train_y - digits.train_y)[torch.from_numpy(wrong)] % 10)) == 9
    assert torch.equal(changed.test_y, digits.test_y)
    assert changed.digest != digits.digest
    with pytest.raises(ValueError, match="share is 1"):
        handed_over.mislabel(digits, 1.0)
