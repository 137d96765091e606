"""Every way to touch a signed record is noticed, in JSON and in the page."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from labkit.evidence import Entry, Evidence, Signer, TamperError, visible
from labkit.results import Result

DAY = datetime(2025, 3, 1, tzinfo=UTC)
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
OWNER, COURT, CLERK = (Signer.from_seed(bytes([k] * 32)) for k in range(3))
ROSTER = {"owner": OWNER.public, "court": COURT.public, "clerk": CLERK.public}


def begun() -> Evidence:
    """Return the first three entries: a commitment, a plan, and somebody else's word that the plan was there."""
    record = Evidence("1/2025", "The owner against <the> thief")
    record = record.add("owner", "commit", {"digest": "ab" * 32}, OWNER, moment=NOON)
    record = record.add(
        "court", "plan", {"alpha": 1e-3, "lines": ["mark"]}, COURT, moment=NOON + timedelta(hours=1)
    )
    return record.witness("clerk", CLERK, moment=NOON + timedelta(hours=1))


def made() -> Evidence:
    """Return a whole record of five entries."""
    content = {"hits": 97, "of": 100, "name": "Gödel </script>"}
    record = begun().add("court", "ask", content, COURT, moment=NOON + timedelta(hours=2))
    return record.close("court", COURT, moment=NOON + timedelta(hours=2))


def saved(tmp_path, tamper=None, text=None):
    """Return the path of a record that was changed after it was saved: its content, or its text."""
    path = made().save(tmp_path / "record.json")
    if tamper is not None:
        content = json.loads(path.read_text(encoding="utf-8"))
        tamper(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    if text is not None:
        before = path.read_text(encoding="utf-8")
        assert text[0] in before
        path.write_text(before.replace(*text, 1), encoding="utf-8")
    return path


def refused(path, says, **settings):
    with pytest.raises(TamperError, match=re.escape(says)):
        Evidence.load(path).verify(ROSTER, **settings)


def test_a_whole_record_verifies():
    assert made().problems(ROSTER, case="1/2025", witnessed=("plan",)) == []
    assert made().verify(ROSTER).entries[3].content["hits"] == 97


def test_signatures_verify_without_this_package():
    for entry in made().entries:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(ROSTER[entry.actor]))
        public.verify(bytes.fromhex(entry.signature), entry.digest.encode())


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lambda c: c["entries"][3]["content"].update(hits=99), "entry 4 (ask) was changed"),
        (
            lambda c: c["entries"][0].update(moment="2024-01-01T00:00:00+00:00"),
            "entry 1 (commit) was changed",
        ),
        (lambda c: c["entries"].pop(1), "does not follow"),
        (lambda c: c["entries"].reverse(), "does not follow"),
        (lambda c: c.update(title="Another case"), "entry 1 (commit) does not follow"),
        (lambda c: c.update(case="2/2025"), "entry 1 (commit) was changed"),
        (lambda c: c["entries"][3].update(signature=""), "not signed by court"),
        (lambda c: c["entries"][3].update(signature="00" * 64), "not signed by court"),
        (lambda c: c["entries"].clear(), "has no end"),
    ],
)
def test_every_change_of_the_file_is_noticed(tamper, says, tmp_path):
    refused(saved(tmp_path, tamper), says)


def test_a_signed_beginning_is_not_the_whole(tmp_path):
    """Tampering 1: an earlier prefix, each entry signed, as the whole record."""
    refused(saved(tmp_path, lambda c: c["entries"].pop()), "has no end")
    refused(begun().save(tmp_path / "begun.json"), "has no end")
    early = begun().close("court", COURT, moment=NOON + timedelta(hours=1))
    mixed = replace(made(), entries=(*made().entries, early.entries[-1]))
    assert "the last entry counts other entries than there are" in mixed.problems(ROSTER)
    with pytest.raises(ValueError, match="has ended"):
        made().add("court", "ask", {}, COURT)


def test_a_field_that_stands_twice_is_refused(tmp_path):
    """Tampering 2: two readers would read two records."""
    refused(saved(tmp_path, text=('"hits": 97', '"hits": 99, "hits": 97')), "'hits' stands twice")
    refused(saved(tmp_path, text=('"case"', '"case": "9", "case"')), "'case' stands twice")


def test_fields_that_nobody_signed_are_refused(tmp_path):
    """Tampering 3: extra fields, in the record and in an entry; and missing or mistyped ones."""
    refused(saved(tmp_path, lambda c: c.update(note="reviewed by the court")), "expected exactly")
    refused(saved(tmp_path, lambda c: c["entries"][0].update(remark="true")), "expected exactly")
    refused(saved(tmp_path, lambda c: c["entries"][0].pop("place")), "expected exactly")
    refused(saved(tmp_path, lambda c: c["entries"][0].update(place=True)), "place is bool")


def test_a_plan_dated_before_but_written_after_is_refused():
    """Tampering 4: moments run forward, and somebody else must have seen the plan before anything followed."""
    late = begun().add("court", "ask", {"hits": 97}, COURT, moment=NOON + timedelta(hours=5))
    with pytest.raises(ValueError, match="before the last entry"):
        late.add("court", "plan", {"alpha": 0.05}, COURT, moment=NOON)
    # By hand, the earlier date can be written; the reader sees it.
    place, previous = len(late.entries) + 1, late.entries[-1].digest
    facts = (place, "2025-03-01T12:00:00+00:00", "court", "plan", {"alpha": 0.05}, previous)
    digest = late._digest(*facts)
    forged = replace(late, entries=(*late.entries, Entry(*facts, digest, COURT.sign(digest.encode()))))
    assert any("dated before the entry that it follows" in said for said in forged.problems(ROSTER))
    # All of it written after the fact, in order: only somebody else's word tells.
    alone = Evidence("1/2025", "t").add("court", "plan", {"alpha": 0.05}, COURT, moment=NOON)
    alone = alone.add("court", "ask", {}, COURT, moment=NOON).witness("clerk", CLERK).close("court", COURT)
    assert alone.problems(ROSTER) == []
    assert any("dated by its writer alone" in said for said in alone.problems(ROSTER, witnessed=("plan",)))
    own = Evidence("1/2025", "t").add("court", "plan", {}, COURT, moment=NOON).witness("court", COURT)
    own = own.close("court", COURT)
    assert any("dated by its writer alone" in said for said in own.problems(ROSTER, witnessed=("plan",)))


def test_an_entry_in_anothers_name_is_refused():
    """Tampering 5: each entry is signed by its own actor."""
    forged = begun().add("owner", "withdraws", {}, COURT).close("court", COURT)
    assert "entry 4 (withdraws) is not signed by owner" in forged.problems(ROSTER)
    stranger = begun().add("mallory", "testifies", {}, Signer.new()).close("court", COURT)
    assert any("mallory, who is not in the roster" in said for said in stranger.problems(ROSTER))
    shared = ROSTER | {"mallory": COURT.public}
    assert any("share a key" in said for said in made().problems(shared))


@pytest.mark.parametrize(
    "moment",
    [
        "yesterday",
        "2025-13-01T12:00:00+00:00",
        "2999-01-01T00:00:00+00:00",
        "2025-03-01",
        "2025-03-01T14:00:00+02:00",
    ],
)
def test_moments_that_are_none_are_refused(moment):
    """Tampering 6: signed, and nonsense."""
    record = Evidence("1/2025", "t")
    facts = (1, moment, "court", "plan", {}, record._start)
    digest = record._digest(*facts)
    nonsense = replace(record, entries=(Entry(*facts, digest, COURT.sign(digest.encode())),))
    assert any("no possible moment" in said for said in nonsense.problems(ROSTER))


@pytest.mark.parametrize(
    "public",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ],
)
def test_keys_of_small_order_are_refused(public):
    """Tampering 7: with the first of these keys the all-zero signature fits any record; no private key is needed."""
    record = Evidence("1/2025", "t")
    facts = (1, "2025-03-01T12:00:00+00:00", "court", "end", {"entries": 0}, record._start)
    forged = replace(record, entries=(Entry(*facts, record._digest(*facts), "01" + "00" * 63),))
    found = forged.problems({"court": public})
    assert any("small order" in said for said in found)
    assert any("not signed by court" in said for said in found)


def test_nan_is_tampering(tmp_path):
    refused(saved(tmp_path, text=('"hits": 97', '"hits": NaN')), "NaN, which is no number")
    refused(saved(tmp_path, text=('"hits": 97', '"hits": 1e999')), "1e999, which is no number")


def test_another_case_and_a_swapped_roster_are_noticed():
    assert "the record is of case 1/2025, expected 2/2025" in made().problems(ROSTER, case="2/2025")
    swapped = ROSTER | {"owner": COURT.public, "court": OWNER.public}
    assert any("not signed by" in said for said in made().problems(swapped))


@pytest.mark.parametrize("name", ["record.json", "record.html"])
def test_files_come_back_as_they_were(name, tmp_path):
    loaded = Evidence.load(made().save(tmp_path / name))
    assert loaded == made()
    assert loaded.verify(ROSTER).entries[3].content["name"] == "Gödel </script>"


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path):
    page = made().save(tmp_path / "record.html").read_text(encoding="utf-8")
    assert "&lt;the&gt;" in page
    assert page.count("</script>") == 1
    assert not re.search(r"(src|href)=", page)


def test_marks_of_direction_are_written_out_on_the_page():
    """U+202E would show "not stolen" where "nelots ton" was signed."""
    turned = Evidence("1", "t\u2067").add("court", "a\u202eb", {"x": "\u202enelots\u2069 \u200bton"}, COURT)
    page = turned.page()
    assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069]", page)
    assert "a[U+202E]b" in page
    assert not re.search("[\u202a-\u202e]", turned.table().to_string() + repr(turned))
    assert visible("plain\ntext") == "plain\ntext"


def test_changed_text_of_a_page_is_noticed(tmp_path):
    path = made().save(tmp_path / "record.html")
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("&quot;hits&quot;: 97", "&quot;hits&quot;: 7"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != page
    with pytest.raises(TamperError, match="shows other text"):
        Evidence.load(path)


def test_bad_entries_are_refused():
    for content in ({"p": float("nan")}, {"model": object()}):
        with pytest.raises(ValueError, match="not JSON"):
            begun().add("court", "ask", content, COURT)
    with pytest.raises(ValueError, match="with its zone"):
        begun().add("court", "ask", {}, COURT, moment=datetime(2025, 3, 1))
    with pytest.raises(ValueError, match="in the future"):
        begun().add("court", "ask", {}, COURT, moment=datetime.now(UTC) + timedelta(days=1))


def test_other_files_are_refused(tmp_path):
    for text in ("no json", "{}", '{"format": "else"}', "[1]", "<html></html>", "[" * 100_000):
        (tmp_path / "file").write_text(text)
        with pytest.raises(ValueError, match="holds no labkit-evidence/2 record"):
            Evidence.load(tmp_path / "file")


def test_results_become_entries():
    class Found:
        def numbers(self):
            return {"p_value": 1e-9}

    record = begun().add("court", "try", Found(), COURT)
    assert record.entries[-1].content == {"p_value": 1e-9}
    assert list(record.table()["did"]) == ["commit", "plan", "witnesses", "try"]


def test_records_written_by_earlier_versions_keep_their_digests_and_bytes(tmp_path):
    """Values of the version in which evidence was no `Result` yet."""
    record = Evidence("7", "pinned").add("court", "plan", {"alpha": 0.05, "who": "Zoë"}, OWNER, moment=DAY)
    record = record.close("court", OWNER, moment=DAY)
    assert record.entries[-1].digest == "6d73b89e01df724e5726ce691e514b373b367500dc89b4b652cd1e896159cede"
    assert record.entries[-1].signature.startswith("13ee08e11a5d7b5e")
    written = record.save(tmp_path / "pinned.json").read_bytes()
    assert hashlib.sha256(written).hexdigest() == (
        "0c1a4279b6633342206f9e2311cfdb9e616e676447c4864e8d4b9dbfcb946091"
    )


def test_a_record_is_a_result_that_claims_nothing_of_its_own_truth():
    record = begun()
    assert isinstance(record, Result)
    assert str(record) == "Evidence: 1/2025, The owner against <the> thief: 3 entries, not ended"
    with pytest.raises(NotImplementedError, match="nothing to draw"):
        record.plot()
