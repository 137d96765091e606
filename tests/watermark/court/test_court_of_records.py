"""A court of rows and of tokens: marks of records are drawn again, and redrawn keys tell an owner from a stranger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from court_stand_ins import BEFORE, JUDGE, NOTARY, RELEASED
from torch import nn

from labkit import data, training, watermark
from labkit.watermark.court import claims
from labkit.watermark.court.cases import Accused
from labkit.watermark.court.docket import Docket
from labkit.watermark.court.plan import Plan
from labkit.watermark.court.trial import try_suspects

RECIPE = training.Recipe(epochs=25, learning_rate=0.2, batch_size=32)
PLAN = Plan(queries={"mark": 30, "mistakes": 60})


def table() -> data.Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 1400)
    names = list("abcdefghijkl")
    frame = pd.DataFrame(rng.normal(size=(1400, 12)) + y[:, None] * np.linspace(1, 0, 12), columns=names)
    frame["place"] = rng.choice(["north", "south", "east"], 1400, p=[0.6, 0.3, 0.1])
    return data.Dataset.from_frame(
        frame.assign(kind=y), label="kind", test_share=0.5, name="rows", real=False
    )


def sequences() -> data.Dataset:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 1400)
    x = rng.integers(0, 12, (1400, 10))
    x[:, ::2] = np.where(rng.random((1400, 5)) < 0.25, y[:, None], x[:, ::2])
    return data.Dataset.from_numpy(x, y, test_share=0.5, dtype="int64", name="sequences", real=False)


def of_rows() -> nn.Module:
    return nn.Sequential(nn.Linear(15, 48), nn.ReLU(), nn.Linear(48, 3))


def of_tokens() -> nn.Module:
    return nn.Sequential(nn.Embedding(12, 8), nn.Flatten(), nn.Linear(80, 48), nn.ReLU(), nn.Linear(48, 3))


CASES = [("rare-values", {"columns": 8}, table, of_rows), ("rare-tokens", {}, sequences, of_tokens)]


@pytest.mark.parametrize(("scheme", "options", "records", "make"), CASES)
def test_a_court_of_records_convicts_the_copy_and_no_innocent(
    scheme, options, records, make, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    own = records()
    key = watermark.Key.from_phrase("owner of records")
    torch.manual_seed(0)
    marked = watermark.embed(scheme, make(), own, key, recipe=RECIPE, count=60, **options)
    claim = claims.bring(f"the owner of {own.name}", marked, own, notary=NOTARY, moment=BEFORE, **options)
    assert claim.drawable
    assert claim.reproducible(own)
    assert claim.problems(own, notary=NOTARY.public, released=RELEASED) == []
    moved = replace(claim.triggers, x=claim.triggers.x.roll(1, dims=1))
    assert not replace(claim, triggers=moved).reproducible(own)
    nulls = watermark.null_models(own, make, RECIPE, count=20)
    innocent = training.fit(make(), own, epochs=25, learning_rate=0.2, batch_size=32, seed=99).model
    copied = make()
    copied.load_state_dict(marked.model.state_dict())
    with torch.no_grad():
        copied[-1].bias += 1e-3
    accused = [
        Accused("a copy", copied, claim, RELEASED),
        Accused("an innocent", innocent, claim, RELEASED),
    ]
    verdicts = try_suspects(PLAN, accused, nulls, own, notary=NOTARY.public, judge=JUDGE, docket=Docket())
    lines = verdicts["a copy"].lines
    assert lines["mark"].exact_p <= verdicts.threshold
    assert lines["mark"].decided
    assert not verdicts["an innocent"].lines["mark"].decided
    assert verdicts.answers()["an innocent"] is False
