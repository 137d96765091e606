"""Project files: what is refused, what is never executed unasked, and models and records of all kinds."""

from __future__ import annotations

import importlib
import pickle
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import projects
import pytest
import torch
from torch import nn

from labkit import dp, models
from labkit.adapt import as_module
from labkit.governance import (
    Claim,
    Project,
    ReviewError,
    UntrustedError,
    as_answering,
    loading,
    read_project,
    review,
)
from labkit.governance.records import dataset_of

GOOD = """
title: a table
owner: Ana Perez
model: {weights: model.pt, architecture: "labkit.models:perceptron", options: {in_features: 6, hidden: 4}}
data: {npz: data.npz}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and its records, and nothing that runs."""
    data = projects.table(120)
    with models.seeded(0):
        torch.save(models.perceptron(6, 4).state_dict(), tmp_path / "model.pt")
    parts = {name: getattr(data, name).numpy() for name in ("train_x", "train_y", "test_x", "test_y")}
    np.savez(tmp_path / "data.npz", **parts)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "project.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_weights_and_arrays_are_read_without_trust(folder):
    project = read_project(written(folder, GOOD))
    assert project.digests.keys() == {"model", "data"}
    assert set(project.files) == {"model.pt", "data.npz"}
    assert not project.model.training


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "budgt_minutes: 3\n", "unknown field 'budgt_minutes'; did you mean 'budget_minutes'"),
        (GOOD.replace("npz: data.npz", "npz: data.npz, dataset: mnist"), "data: expected exactly one of"),
        (GOOD.replace("owner: Ana Perez\n", ""), "owner is missing"),
        (GOOD + "privacy: {delta: 1e-5}\n", "either statement .* or epsilon"),
        (GOOD + 'privacy: {epsilon: "three"}\n', r"privacy.epsilon: 'three'; expected int or float"),
        (GOOD + "privacy: {epsilon: 1, sampler: poison}\n", "sampler is 'poison'; expected one of poisson"),
        (GOOD + "title: again\n", "title stands twice"),
        (GOOD + "promises: {auc: 65}\n", "shares between 0 and 1"),
        (GOOD + "evidence: [{attack: loss, metric: f1, value: 0.5}]\n", "metric is 'f1'"),
        (GOOD + "evidence: [{attack: loss, metric: tpr, value: 0.5}]\n", "without false_positive_rate"),
        (GOOD.replace("model.pt", "gone.pt"), "gone.pt: not there"),
        (GOOD.replace("in_features: 6", "in_features: 7"), "does not fit the architecture"),
        ("[1, 2]\n", "holds a list"),
        ("a: [\n", "is no YAML"),
    ],
)
def test_a_bad_file_is_refused_with_the_way_out(folder, text, said):
    with pytest.raises(ReviewError, match=said):
        read_project(written(folder, text))


def test_all_faults_are_named_at_once(folder):
    with pytest.raises(ReviewError, match="3 faults"):
        read_project(written(folder, GOOD.replace("owner:", "ownr:") + "days: soon\n"))


def test_numbers_with_an_exponent_are_numbers(folder):
    project = read_project(written(folder, GOOD + "privacy: {epsilon: 3, delta: 1e-5}\n"))
    assert project.claim.delta == 1e-5


BOMB = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\ndef make():\n    from torch import nn\n"


def test_code_is_not_run_unless_the_reviewer_says_so(folder):
    (folder / "their_code.py").write_text(BOMB + "    return nn.Linear(6, 2)\n", encoding="utf-8")
    text = GOOD.split("model:")[0] + 'model: {import: "their_code:make"}\ndata: {npz: data.npz}\n'
    with pytest.raises(UntrustedError, match=r"model\.import: their_code:make"):
        read_project(written(folder, text))
    assert not (folder / "their_code.ran").exists()
    assert isinstance(read_project(written(folder, text), trust_code=True).model, nn.Linear)
    assert (folder / "their_code.ran").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def make():\n    return 1 / 0\n", r"ZeroDivisionError: division by zero \(broken_\d+.py, line 2\)"),
        ("import torch\nraise OSError('no disk')\n", r"OSError: no disk \(broken_\d+.py, line 2\)"),
        ("make = 3\n", "is a int; expected a function"),
        ("def make(size):\n    return size\n", "missing 1 required positional argument: 'size'"),
    ],
)
def test_their_code_that_fails_is_named_with_its_line(folder, code, said):
    """The reviewer is told in one line what to send back, and where it is."""
    name = f"broken_{len(code)}"  # a module of one name is imported once
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    text = GOOD.split("model:")[0] + f'model: {{import: "{name}:make"}}\ndata: {{npz: data.npz}}\n'
    with pytest.raises(ReviewError, match=said):
        read_project(written(folder, text), trust_code=True)


def test_modules_beside_an_untrusted_file_are_not_found(folder, monkeypatch):
    (folder / "planted.py").write_text(BOMB, encoding="utf-8")
    seen = []
    monkeypatch.setattr(loading, "_project", lambda given, here: seen.append(find_spec("planted")))
    read_project(written(folder, GOOD))
    assert seen == [None]


def test_no_field_of_the_file_can_give_trust(folder):
    with pytest.raises(ReviewError, match="unknown field 'trust_code'"):
        read_project(written(folder, GOOD + "trust_code: true\n"))


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_pickle_in_the_place_of_weights_is_not_run(folder):
    torch.save({"weights": Bomb(folder / "ran")}, folder / "model.pt")
    with pytest.raises(ReviewError, match="holds something else than weights"):
        read_project(written(folder, GOOD))
    assert not (folder / "ran").exists()


def test_arrays_with_pickles_are_not_run(folder):
    np.savez(folder / "data.npz", train_x=np.array([Bomb(folder / "ran")], dtype=object))
    with pytest.raises(ReviewError, match="plain arrays"):
        read_project(written(folder, GOOD))
    assert not (folder / "ran").exists()


def test_a_pickled_model_needs_trust(folder):
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(folder / "ran")))
    text = GOOD.split("model:")[0] + "model: {file: model.pkl}\ndata: {npz: data.npz}\n"
    with pytest.raises(UntrustedError, match="a pickle"):
        read_project(written(folder, text))
    assert not (folder / "ran").exists()


def test_a_pickle_whose_class_is_nowhere_names_the_way_out(folder, monkeypatch):
    source = "from torch import nn\nclass Theirs(nn.Linear):\n    pass\n"
    (folder / "their_classes.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("their_classes")
    torch.save(module.Theirs(6, 2), folder / "whole.pt")
    (folder / "their_classes.py").unlink()
    monkeypatch.delitem(sys.modules, "their_classes")
    text = GOOD.split("model:")[0] + "model: {file: whole.pt}\ndata: {npz: data.npz}\n"
    with pytest.raises(ReviewError, match="put the module that defines its classes beside the project file"):
        read_project(written(folder, text), trust_code=True)


def test_weights_of_a_part_of_an_answer_fit_its_architecture(folder):
    """`train_private(output=...)` saves them under the names of the module that picks the part."""
    saved = as_module(models.perceptron(6, 4), output=0).state_dict()
    assert all(name.startswith("model.") for name in saved)
    torch.save({"weights": saved}, folder / "model.pt")
    read = read_project(written(folder, GOOD)).model.state_dict()
    assert all(torch.equal(read[name.removeprefix("model.")], value) for name, value in saved.items())


def test_bytes_are_no_images(folder):
    held = dict(np.load(folder / "data.npz"))
    held["train_x"] = np.zeros((120, 3, 4, 4), dtype=np.uint8)
    np.savez(folder / "data.npz", **held)
    with pytest.raises(ReviewError, match="divide bytes by 255"):
        read_project(written(folder, GOOD))


# Models as they come --------------------------------------------------------------------------------------------------

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


class Pair(nn.Module):
    """Answers with a tuple, or a dictionary."""

    def __init__(self, named: bool = False) -> None:
        super().__init__()
        with models.seeded(0):
            self.layer = nn.Linear(6, 2)
        self.named = named

    def forward(self, x):
        z = self.layer(x)
        return {"logits": z, "hidden": x} if self.named else (x, z)


def test_a_tuple_is_refused_with_the_way_out_and_taken_by_name():
    with pytest.raises(ReviewError, match=r"a tuple of \(2, 6\), \(2, 2\): say which part .* \(output: 0\)"):
        as_answering(Pair(), X, 2)
    model = Pair()
    assert torch.equal(as_answering(model, X, 2, part=1)(X), model.layer(X))
    named = Pair(named=True)
    with pytest.raises(ReviewError, match="a dictionary of logits, hidden"):
        as_answering(named, X, 2)
    assert torch.equal(as_answering(named, X, 2, part="logits")(X), named.layer(X))


def test_probabilities_are_refused_and_taken_back_to_logits():
    soft = nn.Sequential(nn.Linear(6, 2), nn.Softmax(1)).eval()
    with pytest.raises(ReviewError, match="answers: probabilities"):
        as_answering(soft, X, 2)
    shown = as_answering(soft, X, 2, answers="probabilities")(X)
    assert torch.allclose(shown.softmax(1), soft(X), atol=1e-6)


def test_one_logit_stands_for_two_classes():
    one = nn.Linear(6, 1)
    with pytest.raises(ReviewError, match="answers: one logit"):
        as_answering(one, X, 2)
    assert torch.allclose(
        as_answering(one, X, 2, answers="one logit")(X).softmax(1)[:, 1], one(X)[:, 0].sigmoid()
    )


def test_float64_weights_and_sklearn_are_asked_in_their_own_way():
    from sklearn.linear_model import LogisticRegression

    double = nn.Linear(6, 2).double()
    assert as_answering(double, X, 2)(X).shape == (8, 2)
    fitted = LogisticRegression().fit(X.numpy(), np.arange(8) % 2)
    shown = as_answering(fitted, X, 3)(X)  # of three classes it met two
    assert np.allclose(shown.softmax(1)[:, :2].numpy(), fitted.predict_proba(X.numpy()), atol=1e-6)


def test_what_is_no_model_is_refused():
    with pytest.raises(ReviewError, match="a int"):
        as_answering(3, X, 2)
    with pytest.raises(ReviewError, match="cannot be asked about records of shape"):
        as_answering(nn.Linear(5, 2), X, 2)


# Tokens and images ----------------------------------------------------------------------------------------------------


class Words(nn.Module):
    """A recurrent classifier of sequences that answers with its state as well."""

    def __init__(self) -> None:
        super().__init__()
        with models.seeded(0):
            self.words, self.rnn, self.out = (
                nn.Embedding(20, 4),
                nn.LSTM(4, 5, batch_first=True),
                nn.Linear(5, 2),
            )

    def forward(self, x):
        _, (state, _) = self.rnn(self.words(x))
        return self.out(state[-1]), state


@pytest.mark.parametrize("kind", ["tokens", "images"])
def test_tokens_and_images_are_reviewed_as_tables_are(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (160,), generator=draw)
    if kind == "tokens":
        x = torch.randint(0, 20, (160, 7), generator=draw)
        model, part = Words(), 0
    else:
        x, part = torch.rand(160, 1, 8, 8, generator=draw), None
        with models.seeded(0):
            model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    data = dataset_of(
        {"train_x": x[:80], "train_y": y[:80], "test_x": x[80:], "test_y": y[80:]}, kind, kind, ("a", "b")
    )
    asked = as_answering(model, data.train_x, 2, part=part)
    found = review(
        Project(
            title=kind, owner="Ana", model=asked, dataset=data, checks=["digests", "utility", "membership"]
        )
    )
    assert found["utility"].status == "findings"  # untrained: no better than the majority answer
    assert "not shown to be better" in found["utility"].findings[0].title
    assert found["membership"].measures[0].what == "loss: AUC"
    assert found.decision.verdict == "approve with conditions"


def answers_of_others(folder: Path, **changes: np.ndarray) -> Path:
    """Write shadow models' answers on the pool, made up: each is surer of what it was trained on."""
    rng, n = np.random.default_rng(0), 120
    masks = np.array([rng.permutation(n) < n // 2 for _ in range(4)])
    masks = np.concatenate([masks, ~masks])
    shown = rng.normal(size=(8, n, 2)) + np.where(masks[:, :, None], [0.0, 2.0], 0.0)
    mine = rng.permutation(n) < n // 2
    held = {"logits": shown, "masks": masks, "positions": np.arange(n), "target_members": mine} | changes
    np.savez(folder / "shadows.npz", **held)
    return written(folder, GOOD + "shadows: {arrays: shadows.npz}\nrun: [shadow_attacks]\n")


def test_answers_of_shadow_models_attack_as_arrays(folder):
    found = review(read_project(answers_of_others(folder)))["shadow_attacks"]
    said = {one.what: one.value for one in found.measures}
    assert found.ran, found.why
    assert said["shadow models"] == "8 of 8 wanted"
    assert "lira-online: AUC" in said
    assert said["RMIA"] == "not asked"


def test_shadow_models_of_another_training_are_no_pass(folder):
    """The model is untrained; shadow models that are always right are not its like, its own answers a little off are."""
    unlike = "The shadow models are not like the model"
    right = 9.0 * np.eye(2)[np.load(folder / "data.npz")["train_y"][:120]]
    noise = np.random.default_rng(2).normal(scale=0.1, size=(8, 120, 2))
    found = review(read_project(answers_of_others(folder, logits=right + noise)))
    assert unlike in [one.title for one in found["shadow_attacks"].findings]
    (item,) = [one for one in found.checklist if one.item.id == "attacks.shadow_models"]
    assert item.state == "failed"
    assert unlike in item.said
    project = read_project(answers_of_others(folder))
    with torch.no_grad():
        own = project.model(project.dataset.train_x[:120]).numpy()
    found = review(read_project(answers_of_others(folder, logits=own + noise)))["shadow_attacks"]
    assert found.ran, found.why
    assert unlike not in [one.title for one in found.findings]
    assert "accuracy, model and shadow models" in [one.what for one in found.measures]


def test_a_statement_is_written_as_the_project_file_reads_it(folder):
    event = dp.SampledGaussian(1.1, steps=50, sample_rate=0.1)
    made = Claim.of(dp.privacy_statement(event, delta=1e-5, n=120), batches="poisson", unit="a record")
    made.save(folder / "privacy.json")
    back = read_project(written(folder, GOOD + "privacy: {statement: privacy.json}\n")).claim
    assert replace(made, statement=None) == back
    assert back.recompute().epsilon == made.epsilon
    two = Claim.of(dp.privacy_statement([event, dp.LaplaceEvent(5.0)], delta=1e-5))
    with pytest.raises(ReviewError, match="counts 2 releases"):
        two.save(folder / "two.json")
    assert not (folder / "two.json").exists()


OWN_WAY = """
from sklearn.ensemble import RandomForestClassifier

def forest(x, y, seed):
    return RandomForestClassifier(10, random_state=seed).fit(x.numpy(), y.numpy())

def bank_of_members():
    import numpy as np
    import projects
    from labkit import membership
    from labkit.governance import Shadows
    data = projects.table(120)
    bank = membership.shadow_bank(data, train=forest, shadow_models=4)
    return Shadows(bank=bank, target_members=np.arange(120))
"""


def test_shadow_models_are_trained_by_the_submissions_own_function(folder, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(folder / "cache"))
    (folder / "their_way.py").write_text(OWN_WAY, encoding="utf-8")
    text = GOOD + 'shadows: {train: "their_way:forest", models: 4}\nrun: [shadow_attacks]\n'
    with pytest.raises(UntrustedError, match=r"shadows\.train: their_way:forest"):
        read_project(written(folder, text))
    found = review(read_project(written(folder, text), trust_code=True))["shadow_attacks"]
    said = {one.what: one.value for one in found.measures}
    assert found.ran, found.why
    assert said["shadow models"] == "4 of 4 wanted"
    assert {"lira-online: AUC", "rmia-online: AUC"} <= said.keys()


def test_a_bank_of_members_alone_is_refused_with_the_way_out(folder, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(folder / "cache"))
    (folder / "their_bank.py").write_text(OWN_WAY, encoding="utf-8")
    text = GOOD + 'shadows: {import: "their_bank:bank_of_members"}\nrun: [shadow_attacks]\n'
    found = review(read_project(written(folder, text), trust_code=True))["shadow_attacks"]
    assert found.status == "not run"
    assert "expected some of each" in found.why
    assert "shadows: train" in found.why


def test_with_answers_on_a_population_rmia_is_asked(folder):
    data = dict(np.load(folder / "data.npz"))
    others = len(data["train_y"]) + np.arange(len(data["test_y"]))
    given = np.random.default_rng(1).normal(size=(8, len(others), 2))
    path = answers_of_others(folder, population=others, population_logits=given)
    said = [one.what for one in review(read_project(path))["shadow_attacks"].measures]
    assert "rmia-online: AUC" in said
    assert "RMIA" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"positions": np.zeros(120, int)}, "distinct positions"),
        ({"target_members": np.ones(120)}, r"target_members is float64 \(120,\); expected bool"),
        ({"logits": np.full((8, 120, 2), 0.5)}, "probabilities"),
        ({"population": np.arange(3)}, "expected both, or neither"),
    ],
)
def test_arrays_of_answers_that_do_not_fit_are_refused(folder, changes, said):
    with pytest.raises(ReviewError, match=said):
        read_project(answers_of_others(folder, **changes))
