from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import torch
from torch import nn

from labkit.data import Dataset
from labkit.results import Result
from labkit.strict_json import TamperError
from labkit.watermark import Key, commit
from labkit.watermark.court.commitments import Commitment, model_digest

KEY = Key.from_phrase("tests")
MOMENT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))


def test_the_owner_opens_it_and_nobody_else_does() -> None:
    model = network()
    made = commit(KEY, model, kind="patch", moment=MOMENT)
    assert made.verify(KEY, model)
    assert made.verify(KEY, copy.deepcopy(model))
    assert made.problems(KEY, model) == []
    stranger = Key.from_phrase("stranger")
    assert not made.verify(stranger, model)
    assert [problem for problem in made.problems(stranger, model) if stranger.fingerprint in problem]
    assert any("another model" in problem for problem in made.problems(KEY, network(1)))
    assert len(made.problems(KEY, network(1))) == 1  # the key is right, and it says so


TERMS = {
    "kind": "patch",
    "claimant": "Ada",
    "options": {"blend": 1.0},
    "count": 40,
    "records": None,
    "of": 1,
    "moment": MOMENT,
}


def records(seed: int) -> Dataset:
    x = torch.rand(9, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    return Dataset(
        "d", "made in the test", False, x[:6], torch.arange(6) % 2, x[6:], torch.arange(3) % 2, ("a", "b")
    )


@pytest.mark.parametrize(
    ("term", "other"),
    [
        ("kind", "noise"),
        ("claimant", "Bea"),
        ("options", {"blend": 0.5}),
        ("options", {"blend": 1.0, "size": 5}),
        ("count", 41),
        ("records", records(0)),
        ("of", 2),
    ],
)
def test_it_binds_each_term(term: str, other: object) -> None:
    model = network()
    made, changed = commit(KEY, model, **TERMS), commit(KEY, model, **(TERMS | {term: other}))
    assert made.digest != changed.digest
    swapped = replace(made, **{term: getattr(changed, term)})
    assert not swapped.verify(KEY, model)
    assert any("does not open" in said for said in swapped.problems(KEY, model))


def test_it_binds_key_model_and_generator() -> None:
    model = network()
    digests = {
        commit(key, each, **TERMS).digest
        for key in (KEY, Key.from_phrase("b"))
        for each in (model, network(1))
    }
    assert len(digests) == 4
    made = commit(KEY, model, **TERMS)
    assert not replace(made, model=model_digest(network(1))).verify(KEY, network(1))
    assert not replace(made, generator="another-generator/9").verify(KEY, model)
    assert (
        commit(KEY, model, **(TERMS | {"records": records(0)})).records
        != commit(KEY, model, **(TERMS | {"records": records(1)})).records
    )


def test_the_digest_is_the_documented_hash() -> None:
    made = commit(KEY, network(), **TERMS)
    terms = {k: v for k, v in asdict(made).items() if k not in ("digest", "moment")}
    text = json.dumps(["labkit-commitment/2", terms, KEY.seed.hex()], sort_keys=True, separators=(",", ":"))
    assert made.digest == hashlib.sha256(text.encode()).hexdigest()


def test_what_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(ValueError, match="option base_x is no number or text"):
        commit(KEY, network(), kind="patch", options={"base_x": torch.zeros(2)})
    for wrong in ({"count": 0}, {"of": 0}):
        with pytest.raises(ValueError, match="at least 1 trigger and 1 commitment"):
            commit(KEY, network(), kind="patch", **wrong)


def test_the_record_binds_the_moment_which_is_kept_in_utc() -> None:
    model = network()
    made = commit(KEY, model, kind="patch", moment=MOMENT)
    later = commit(KEY, model, kind="patch", moment=MOMENT + timedelta(seconds=1))
    assert made.digest == later.digest
    assert made.record != later.record
    zone = timezone(timedelta(hours=2))
    assert (
        commit(KEY, model, kind="patch", moment=MOMENT.astimezone(zone)).moment == "2025-03-01T12:00:00+00:00"
    )
    assert abs(
        datetime.fromisoformat(commit(KEY, model, kind="patch").moment) - datetime.now(UTC)
    ) < timedelta(hours=1)
    with pytest.raises(ValueError, match="with its zone"):
        commit(KEY, model, kind="patch", moment=datetime(2025, 3, 1))
    with pytest.raises(ValueError, match="a name"):
        commit(KEY, model, kind="")


def test_a_model_digest_sees_every_weight_and_no_layout() -> None:
    model = network()
    first = model_digest(model)
    assert first == model_digest(model.to(memory_format=torch.channels_last))
    assert first == model_digest(model.train())
    for name in model.state_dict():
        changed = network()
        changed.state_dict()[name].view(-1)[0] += 1
        assert model_digest(changed) != first, name
    assert model_digest(copy.deepcopy(model).half()) != first
    assert len(model_digest(copy.deepcopy(model).bfloat16())) == 64
    # Same bytes, other shape: the shape counts.
    assert model_digest(nn.Bilinear(2, 3, 1)) != model_digest(nn.Bilinear(3, 2, 1))
    with pytest.raises(ValueError, match="no weights"):
        model_digest(nn.ReLU())


def test_files_come_back_whole_and_changes_are_noticed(tmp_path) -> None:
    made = commit(KEY, network(), kind="patch", moment=MOMENT)
    path = made.save(tmp_path / "commitment.json")
    assert KEY.seed.hex() not in path.read_text()
    assert Commitment.load(path) == made
    content = json.loads(path.read_text())
    for change, message in (
        ({"moment": "2020-01-01T00:00:00+00:00"}, "was changed"),
        ({"digest": "0" * 64}, "was changed"),
        ({"format": "other/1"}, "is no labkit-commitment/2 file"),
        ({"note": "reviewed"}, "expected exactly"),
        ({"count": "1"}, "count is str"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=message):
            Commitment.load(path)
    path.write_text(json.dumps({"format": "labkit-commitment/2"}))
    with pytest.raises(ValueError, match="expected exactly"):
        Commitment.load(path)
    twice = json.dumps(content).replace('"moment"', '"moment": "2020-01-01T00:00:00+00:00", "moment"', 1)
    path.write_text(twice)
    with pytest.raises(TamperError, match="'moment' stands twice"):
        Commitment.load(path)
    path.write_text("not JSON")
    with pytest.raises(ValueError, match="is not JSON"):
        Commitment.load(path)


def test_it_shows_itself_without_the_key() -> None:
    made = commit(KEY, network(), kind="patch", moment=MOMENT)
    for text in (repr(made), made._repr_html_(), made.table().to_string()):
        assert KEY.seed.hex() not in text
    assert made.table().loc["record", "value"] == made.record


def test_it_is_a_result_and_its_line_names_claimant_and_moment() -> None:
    made = commit(KEY, network(), kind="patch", claimant="Ada", moment=MOMENT)
    assert isinstance(made, Result)
    assert str(made).startswith(f"Commitment: Ada, patch: {made.digest[:16]}…")
    with pytest.raises(NotImplementedError, match="nothing to draw"):
        made.plot()
