"""Secrets in files: nobody else reads them, no wrong pass-phrase opens them, and none is taken for another kind."""

import os
import stat

import pytest
import torch
from torch import nn

from labkit import keyfiles, stats
from labkit.evidence import Signer
from labkit.watermark import Key, MarkedModel, TriggerSet

PHRASE = "four dull green words"


@pytest.fixture
def marked():
    triggers = TriggerSet(torch.rand(4, 1, 8, 8), torch.tensor([1, 2, 1, 2]), "patch")
    share = stats.Interval(0.9, 0.8, 0.95)
    key = Key.from_phrase("owner")
    return MarkedModel(
        nn.Linear(3, 2), "patch", key, triggers, share, share, "made", "smoke", 0, 1.0, {"layer": "x"}
    )


@pytest.mark.parametrize(("made", "same"), [(Signer.new(), "public"), (Key.new(), "seed")])
def test_a_key_comes_back_from_its_file_and_from_nobody_elses(tmp_path, made, same):
    path = made.save(tmp_path / "key.pem", PHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert getattr(type(made).load(path, PHRASE), same) == getattr(made, same)
    with pytest.raises(keyfiles.KeyFileError, match=r"key\.pem is not opened by this pass-phrase"):
        type(made).load(path, "four dull green birds")
    with pytest.raises(keyfiles.KeyFileError, match="not opened"):
        type(made).load(path, "")
    with pytest.raises(keyfiles.KeyFileError, match="written over is lost"):
        made.save(path, PHRASE)
    with pytest.raises(ValueError, match="5 characters; expected at least 8"):
        made.save(tmp_path / "other.pem", "short")
    assert not (tmp_path / "other.pem").exists()
    with pytest.raises(keyfiles.KeyFileError, match="not there"):
        type(made).load(tmp_path / "none.pem", PHRASE)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_key_that_others_can_read_is_refused_and_the_mode_named(tmp_path):
    path = Key.new().save(tmp_path / "key.pem", PHRASE)
    path.chmod(0o644)
    with pytest.raises(keyfiles.KeyFileError, match="has mode 644, so others can read it: chmod 600"):
        Key.load(path, PHRASE)


def test_a_secret_is_not_taken_for_a_signing_key(tmp_path):
    path = Key.new().save(tmp_path / "key.pem", PHRASE)
    with pytest.raises(keyfiles.KeyFileError, match="another kind of key"):
        Signer.load(path, PHRASE)


def test_a_marked_model_comes_back_whole_and_shows_nothing_without_its_phrase(tmp_path, marked):
    path = marked.save(tmp_path / "marked.lab", PHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert marked.key.seed not in path.read_bytes()
    assert marked.triggers.x.numpy().tobytes()[:32] not in path.read_bytes()
    found = MarkedModel.load(path, PHRASE)
    assert found.key == marked.key
    assert torch.equal(found.triggers.x, marked.triggers.x)
    assert torch.equal(found.model.weight, marked.model.weight)
    assert found.facts == marked.facts
    with pytest.raises(keyfiles.KeyFileError, match="not opened"):
        MarkedModel.load(path, "four dull green birds")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(keyfiles.KeyFileError, match="changed after it was written"):
        MarkedModel.load(path, PHRASE)
    with pytest.raises(ValueError, match="holds its key: pass a pass-phrase"):
        marked.save(tmp_path / "open.lab")


def test_what_is_told_of_marks_tells_no_secret(tmp_path, marked):
    told = (
        marked.save(tmp_path / "marked.json").read_text()
        + str(marked.table())
        + marked.triggers.save(tmp_path / "t.json").read_text()
    )
    assert marked.key.seed.hex() not in told
    assert marked.key.fingerprint in told
    assert marked.plot().axes and marked.triggers.plot().axes  # noqa: PT018
    path = marked.triggers.save(tmp_path / "triggers.pt")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = TriggerSet.load(path)
    assert torch.equal(found.x, marked.triggers.x)
    assert torch.equal(found.y, marked.triggers.y)
    assert found.kind == "patch"
