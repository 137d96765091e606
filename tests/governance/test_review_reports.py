"""One sound submission, reviewed whole: approved, written, signed, and refused once a byte has changed."""

from __future__ import annotations

import html
import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import projects
import pytest

from labkit import cli
from labkit.evidence import Signer, TamperError
from labkit.governance import Review, ReviewError, command, review, reviewing, verify_report
from labkit.governance.checks.base import Check, Found
from labkit.governance.findings import Measure

KEY = Signer.from_seed(b"governance".ljust(32, b"."))
NASTY = 'a "model" <script>alert(1)</script> --> | _x_ \u202e'


@pytest.fixture(scope="module")
def approved(tmp_path_factory) -> Iterator[Review]:
    """The whole review of a sound submission: the one expensive thing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LABKIT_PROFILE", "smoke")
        yield review(projects.sound(title=NASTY), today=date(2026, 11, 26))


@pytest.fixture(scope="module")
def pages(approved, tmp_path_factory) -> tuple[Path, Path]:
    return approved.report(tmp_path_factory.mktemp("out") / "report", reviewer="Bo", signer=KEY)


def test_a_sound_submission_is_approved(approved):
    assert approved.decision.verdict == "approve", approved.decision.reasons
    assert approved.count("not run") == 0
    assert approved.count("does not apply") == 4  # loader, mark, custody, federation
    assert approved.decision.expires == "2027-11-26"


def test_the_review_is_a_result(approved, tmp_path):
    assert approved.load(approved.save(tmp_path / "review.pt")).decision == approved.decision
    assert approved.plot().alt_text
    assert len(approved.table()) == len(approved.outcomes)


def test_each_page_says_everything_and_fetches_nothing(approved, pages):
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert len(text) < 400_000
        assert "APPROVE, until 2027-11-26" in text
        assert approved.digests["model"] in text
        shown = html.unescape(text)
        assert all(one.title in shown.replace("\\", "") for one in approved.outcomes)
        assert not re.search(r"""(?:src|href)\s*=\s*(?!["'](?:data:|#))|url\(|@import|<link""", text)
        assert "<script>alert" not in text
        assert "\u202e" not in text
    page = pages[0].read_text(encoding="utf-8")
    assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in re.findall("<img[^>]*>", page))
    assert page.count("<img") == sum(len(one.pictures) for one in approved.outcomes) > 0
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page


def test_the_signature_holds(pages):
    for page in pages:
        record = verify_report(page, KEY.public)
        assert [entry.action for entry in record.entries] == [
            "submission",
            "checks",
            "decision",
            "report",
            "end",
        ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("APPROVE, until 2027", "APPROVE, until 2037"),
        ('"verdict": "approve"', '"verdict": "reject!"'),
        ('"status": "passed"', '"status":  "passed"'),  # a space in the record
        ("Bo signed", "Al signed"),
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_one_changed_byte_is_refused(pages, tmp_path, old, new, which):
    page = pages[which]
    text = page.read_text(encoding="utf-8")
    assert old in text
    changed = tmp_path / page.name
    changed.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises((TamperError, ValueError)):
        verify_report(changed, KEY.public)


def test_another_key_a_cut_page_and_another_file_are_refused(pages, tmp_path):
    with pytest.raises(TamperError, match="not signed by Bo"):
        verify_report(pages[0], Signer.new().public)
    cut = tmp_path / "cut.html"
    cut.write_bytes(pages[0].read_bytes()[:-20])
    with pytest.raises(ReviewError, match="holds no record"):
        verify_report(cut, KEY.public)
    with pytest.raises(ReviewError, match=r"\.html or \.md"):
        verify_report(tmp_path / "x.pdf", KEY.public)


def test_a_report_without_a_key_says_that_it_shows_nobody(approved, tmp_path):
    page, _ = approved.report(tmp_path / "report")
    assert "does not show who signed" in page.read_text(encoding="utf-8")


# Resume ---------------------------------------------------------------------------------------------------------------


class Ran(list[str]):
    """What ran, where no cache key reads it: behind a weak reference."""


KEPT = Ran()
LOG = weakref.ref(KEPT)


def first(project, minutes):
    LOG().append("first")
    return 1


def second(project, minutes):
    LOG().append("second")
    if LOG().count("second") == 1:
        raise KeyboardInterrupt
    return 2


def said(project, found) -> Found:
    return Found([Measure("m", str(found))])


def test_an_interrupted_review_goes_on_where_it_stopped(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    LOG().clear()
    checks = tuple(Check(m.__name__, m.__name__, "?", m, said, kept=True) for m in (first, second))
    monkeypatch.setattr(reviewing, "CHECKS", checks)
    project = projects.sound()
    with pytest.raises(KeyboardInterrupt):
        review(project)
    assert review(project)["second"].measures[0].value == "2"
    assert LOG() == ["first", "second", "second"]
    review(replace(project, seed=1))
    assert LOG()[3:] == ["first", "second"]  # another seed is another measurement


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_refuses_and_checks(pages, tmp_path, capsys):
    assert cli.main(["review"]) == 2
    assert cli.main(["review", str(tmp_path / "none.yaml")]) == 2
    assert cli.main(["review", "--verify", str(pages[0])]) == 2
    assert "needs --public" in capsys.readouterr().err
    assert cli.main(["review", "--verify", str(pages[0]), "--public", KEY.public]) == 0
    assert "approve, case" in capsys.readouterr().out


def test_the_command_reads_a_key_and_writes_a_report(tmp_path, monkeypatch, capsys):
    import numpy as np
    import torch

    from labkit import models

    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    data = projects.table(60)
    np.savez(
        tmp_path / "data.npz",
        **{n: getattr(data, n).numpy() for n in ("train_x", "train_y", "test_x", "test_y")},
    )
    torch.save(models.perceptron(6, 4).state_dict(), tmp_path / "model.pt")
    (tmp_path / "key").write_text("07" * 32)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "mine.yaml").write_text(
        "title: t\nowner: o\ndata: {npz: data.npz}\nrun: [digests]\n"
        "model: {weights: model.pt, architecture: 'labkit.models:perceptron', options: {in_features: 6, hidden: 4}}\n"
    )
    out = tmp_path / "out"
    code = cli.main(
        ["review", str(tmp_path / "mine.yaml"), "--out", str(out), "--key", str(tmp_path / "key")]
    )
    assert code == 4  # membership, which is essential, was left out
    assert "REJECT" in capsys.readouterr().out
    verify_report(out / "mine.html", Signer.from_seed(b"\x07" * 32).public)
    verify_report(out / "mine.md", Signer.from_seed(b"\x07" * 32).public)


def test_a_key_that_others_can_read_signs_nothing(tmp_path):
    key = tmp_path / "key"
    key.write_text("07" * 32)
    key.chmod(0o644)
    with pytest.raises(ReviewError, match="chmod 600"):
        command.signer_from(key)
    with pytest.raises(ReviewError, match="is not there"):
        command.signer_from(tmp_path / "none")


def test_a_folder_that_takes_no_report_is_refused_before_the_review(tmp_path, monkeypatch):
    (tmp_path / "out").write_text("a file, not a folder")
    monkeypatch.setattr("labkit.governance.reviewing.review", lambda project: pytest.fail("it was run"))
    asked = cli.parser().parse_args(["review", "--example", "sound", "--out", str(tmp_path / "out")])
    with pytest.raises(ReviewError, match="another folder with --out"):
        command.main(asked, lambda: {"sound": lambda: None})
