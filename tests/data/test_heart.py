"""Four real hospitals: read from the published bytes only, prepared by constants that no patient decides."""

import hashlib
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from labkit import data
from labkit.data.formats import heart
from labkit.federated import load_hospitals


def test_table_holds_the_published_records_and_their_gaps():
    table = data.heart_table()
    groups = table.groupby("hospital", sort=False)
    assert groups.size().to_dict() == {c.name: c.records for c in heart.CENTRES}
    assert groups["diagnosis"].agg(lambda s: int((s > 0).sum())).tolist() == [139, 106, 115, 149]
    marked = (
        table.drop(columns=["cholesterol", "resting blood pressure"]).isna().groupby(table["hospital"]).sum()
    )
    assert table[table["hospital"] == "Zurich and Basel"]["cholesterol"].isna().all()
    assert marked.loc["Cleveland"].sum() == 6
    assert table["cholesterol"].min() > 50
    assert table["resting blood pressure"].min() > 50


def test_question_marks_are_counted_as_published():
    found = [(heart.folder() / c.file).read_bytes().count(b"?") for c in heart.CENTRES]
    assert found == [6, 782, 273, 698]


def test_attribution_names_licence_doi_and_the_bytes_that_are_here():
    text = (heart.folder() / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text
    assert "10.24432/C52P4X" in text
    for centre in heart.CENTRES:
        content = (heart.folder() / centre.file).read_bytes()
        assert centre.sha256 == hashlib.sha256(content).hexdigest()
        assert re.search(rf"`{re.escape(centre.file)}`.*\b{centre.records}\b.*`{centre.sha256}`", text)


def test_features_are_constants_of_the_measurement_alone():
    table = data.heart_table()
    x = heart._features(table)
    assert x.shape == (920, len(heart.FEATURES))
    assert x.min() >= 0
    assert x.max() <= 1
    assert not np.isnan(x).any()
    one = pd.DataFrame([table.iloc[700]])  # a record alone gives what it gives among 920
    np.testing.assert_array_equal(heart._features(one)[0], x[700])
    columns = dict(zip(heart.FEATURES, x.T, strict=True))
    age, low, high = table["age"], *heart.PUBLIC_RANGES["age"]
    np.testing.assert_allclose(columns["age"], (age - low) / (high - low))
    missing = table["cholesterol"].isna().to_numpy()
    assert set(columns["cholesterol"][missing]) == {heart.NEUTRAL}
    np.testing.assert_array_equal(columns["cholesterol missing"], missing)
    pain = np.stack([columns[f"chest pain {value}"] for value in (1, 2, 3, 4)])
    np.testing.assert_array_equal(pain.argmax(0) + 1, table["chest pain"])
    np.testing.assert_array_equal(pain.sum(0), 1)


def test_split_is_per_hospital_and_diagnosis_and_repeats():
    whole, parts = data.load("heart"), heart.centres(seed=0)
    assert whole.source == "UCI Heart Disease (four centres)"
    assert whole.real
    assert whole.classes == ("no disease", "disease")
    assert torch.equal(whole.train_x, torch.cat([part.train_x for part in parts.values()]))
    for centre, part in zip(heart.CENTRES, parts.values(), strict=True):
        assert len(part.train_y) + len(part.test_y) == centre.records
        assert abs(len(part.test_y) / centre.records - heart.TEST_SHARE) < 0.01
        shares = [float(y.float().mean()) for y in (part.train_y, part.test_y)]
        assert abs(shares[0] - shares[1]) < 0.02
    assert data.load("heart").digest == whole.digest
    assert heart.heart(seed=1).digest != whole.digest


def test_hospitals_are_the_four_centres():
    held = load_hospitals("heart", seed=2)
    assert held.names == ("Cleveland", "Budapest", "Zurich and Basel", "Long Beach")
    assert held.pooled().digest == heart.heart(seed=2).digest
    table = data.heart_table().drop(columns=["ST slope", "vessels", "thallium scan"])
    gaps = table.isna().groupby(table["hospital"], sort=False).sum().sum(1)
    assert [hospital.missing for hospital in held] == gaps.tolist()
    assert held.table()["missing values"].tolist() == gaps.tolist()


@pytest.mark.parametrize("settings", [{"count": 5}, {"by": "label"}, {"alpha": 0.5}])
def test_real_hospitals_are_not_split_again_in_silence(settings):
    with pytest.raises(ValueError, match="four real hospitals"):
        load_hospitals("heart", **settings)


@pytest.mark.parametrize("load", [data.load, load_hospitals])
def test_no_stand_in_is_made_for_what_is_always_there(load):
    with pytest.raises(data.DataError, match="heart needs no stand-in"):
        load("heart", source="stand-in")


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """A copy of the four files, to be damaged."""
    shutil.copytree(heart.folder(), tmp_path / "hospitals")
    monkeypatch.setattr(heart, "folder", lambda: tmp_path / "hospitals")
    return tmp_path / "hospitals"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.replace(b"?", b"0"),  # as some public copies have it
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content[:-20],
        lambda content: b"",
    ],
)
def test_a_file_that_is_not_the_published_one_is_refused(copies, damage):
    path = copies / "processed.va.data"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError, match="is not the published file") as raised:
        data.load("heart")
    for part in (str(path), "200 records of Long Beach", heart.CENTRES[3].sha256, "found", "git checkout"):
        assert part in str(raised.value)
    assert data.locate("heart").kind == "corrupt"


def test_a_missing_file_is_named_with_the_fix(copies):
    (copies / "processed.hungarian.data").unlink()
    with pytest.raises(data.DataError, match=r"processed\.hungarian\.data cannot be read: .*git checkout"):
        data.heart_table()
