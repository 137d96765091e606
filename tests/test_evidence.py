"""Every way to touch a signed record is noticed, in JSON and in the page."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from labkit import evidence
from labkit.evidence import Evidence, Signer, TamperError

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
OWNER, FORGER = Signer.from_seed(bytes(range(32))), Signer.from_seed(bytes(32))


def made() -> Evidence:
    """Return a signed record of three entries."""
    record = Evidence("The owner against <the> thief")
    record = record.add("owner", "commit", {"digest": "ab" * 32}, moment=NOON)
    record = record.add(
        "court", "fix the plan", {"alpha": 1e-3, "lines": ["mark"]}, moment=NOON + timedelta(hours=1)
    )
    record = record.add(
        "court", "ask", {"hits": 97, "of": 100, "name": "Gödel </script>"}, moment=NOON + timedelta(hours=2)
    )
    return record.sign(OWNER)


def test_a_whole_record_verifies_and_says_who_signed():
    record = made()
    assert record.problems(signer=OWNER.public) == []
    assert record.verify(signer=OWNER.public) is record
    assert OWNER.public[:16] in repr(record)


def test_public_key_of_the_test_vector_in_rfc_8032():
    """RFC 8032, section 7.1, test 1: seed and public key, and the signature of the empty message."""
    signer = Signer.from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert signer.public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.sign(b"").startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


def test_signature_verifies_without_this_package():
    record = made()
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record.signer))
    public.verify(bytes.fromhex(record.signature), record.head.encode())


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lambda c: c["entries"][2]["content"].update(hits=99), "entry 3 (ask) was changed"),
        (
            lambda c: c["entries"][0].update(moment="2024-01-01T00:00:00+00:00"),
            "entry 1 (commit) was changed",
        ),
        (lambda c: c["entries"][1].update(actor="thief"), "entry 2 (fix the plan) was changed"),
        (lambda c: c["entries"].pop(1), "entry 2 (ask) does not follow"),
        (lambda c: c["entries"].pop(), "the signature does not fit"),
        (lambda c: c["entries"].reverse(), "does not follow"),
        (lambda c: c.update(title="Another case"), "the signature does not fit"),
        (lambda c: c.update(signature=""), "not signed"),
        (lambda c: c.update(signature="00" * 64), "the signature does not fit"),
        (lambda c: c.update(signature="no hex"), "the signature does not fit"),
        (lambda c: c.update(signer=FORGER.public), "expected"),
    ],
)
def test_every_change_of_the_file_is_noticed(tamper, says, tmp_path):
    path = made().save(tmp_path / "record.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    tamper(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TamperError, match=re.escape(says)):
        Evidence.load(path).verify(signer=OWNER.public)


def test_whoever_rewrites_and_signs_anew_is_found_by_the_expected_key():
    rewritten = Evidence(made().title).add("court", "ask", {"hits": 3}, moment=NOON).sign(FORGER)
    assert rewritten.problems() == []
    with pytest.raises(TamperError, match=f"signed by {FORGER.public[:16]}"):
        rewritten.verify(signer=OWNER.public)


def test_an_entry_added_later_breaks_the_seal():
    added = made().add("thief", "add a line", {"x": 1})
    assert added.problems() == ["the record is not signed"]
    assert replace(added, signer=made().signer, signature=made().signature).problems()


@pytest.mark.parametrize("name", ["record.json", "record.html"])
def test_files_come_back_as_they_were(name, tmp_path):
    loaded = Evidence.load(made().save(tmp_path / name))
    assert loaded == made()
    assert loaded.verify(signer=OWNER.public).entries[2].content["name"] == "Gödel </script>"


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path):
    page = made().save(tmp_path / "record.html").read_text(encoding="utf-8")
    assert "&lt;the&gt;" in page
    assert page.count("</script>") == 1
    assert not re.search(r"(src|href)=", page)


def test_changed_text_of_a_page_is_noticed(tmp_path):
    path = made().save(tmp_path / "record.html")
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("&quot;hits&quot;: 97", "&quot;hits&quot;: 7"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != page
    with pytest.raises(TamperError, match="shows other text"):
        Evidence.load(path)


def test_bad_entries_are_refused():
    with pytest.raises(ValueError, match="not JSON"):
        made().add("court", "ask", {"p": float("nan")})
    with pytest.raises(ValueError, match="not JSON"):
        made().add("court", "ask", {"model": object()})
    with pytest.raises(ValueError, match="with its zone"):
        made().add("court", "ask", {}, moment=datetime(2025, 3, 1))
    with pytest.raises(ValueError, match="before the last entry"):
        made().add("court", "ask", {}, moment=NOON)


def test_other_files_are_refused(tmp_path):
    for text in ("no json", "{}", '{"format": "else"}', "[1]", "<html></html>"):
        (tmp_path / "file").write_text(text)
        with pytest.raises(ValueError, match="holds no labkit-evidence/1 record"):
            Evidence.load(tmp_path / "file")


def test_a_secret_never_shows():
    signer = Signer.new()
    assert signer.public[:16] in repr(signer)
    assert Signer.new().public != signer.public


def test_results_and_plain_facts_become_entries():
    class Result:
        def numbers(self):
            return {"p_value": 1e-9}

    signed = evidence.record("Case", [("owner", "commit", {"d": 1}), ("court", "try", Result())], OWNER)
    assert [entry.content for entry in signed.verify().entries] == [{"d": 1}, {"p_value": 1e-9}]
    assert list(signed.table()["did"]) == ["commit", "try"]
