"""The register: what it refuses to be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from labkit.evidence import Signer
from labkit.federated.marks import RegisterError, register
from labkit.federated.marks.register import REGISTRAR, Register

SIGNERS = {name: Signer.from_seed(name.encode().ljust(32)) for name in ("A", "B", REGISTRAR)}
ROSTER = {name: signer.public for name, signer in SIGNERS.items()}
WHOLE = (
    Register("case 1")
    .add("A", "commit", {"digest": "aa"}, SIGNERS["A"])
    .add("B", "commit", {"digest": "bb"}, SIGNERS["B"])
    .close("start", SIGNERS[REGISTRAR])
    .acknowledge("A", SIGNERS["A"])
    .acknowledge("B", SIGNERS["B"])
    .release("model", 20, SIGNERS[REGISTRAR])
)


def changed(line: int, **values: object) -> Register:
    entries = list(WHOLE.entries)
    entries[line - 1] = replace(entries[line - 1], **values)
    return Register("case 1", tuple(entries))


def test_a_whole_register_is_read_back_as_it_was() -> None:
    again = register.read(WHOLE.text())
    assert again.entries == WHOLE.entries
    assert again.problems(ROSTER) == []
    assert len(again.table()) == 7


@pytest.mark.parametrize("lines", [0, 2, 3, 4, 5, 6])
def test_a_signed_beginning_is_not_the_whole(lines: int) -> None:
    assert Register("case 1", WHOLE.entries[:lines]).problems(ROSTER)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed(1, content={"digest": "cc"}), "was changed"),
        (changed(1, actor="B"), "was changed"),
        (changed(2, place=3), "was changed"),
        (Register("case 1", WHOLE.entries[1:]), "does not follow"),
        (Register("case 2", WHOLE.entries), "was changed"),
        (Register("case 1", (*WHOLE.entries, WHOLE.entries[0])), "goes on after its end"),
        (Register("case 1").add("A", "commit", {}, SIGNERS["B"]), "not signed by A"),
        (Register("case 1").add("C", "commit", {}, SIGNERS["A"]), "not signed by C"),
        (Register("case 1").add("A", "close", {}, SIGNERS["A"]), "the registrar does the rest"),
        (Register("case 1").close("s", SIGNERS[REGISTRAR]), "'release' stands 0 times"),
    ],
)
def test_a_register_that_was_touched_says_where(found: Register, message: str) -> None:
    assert any(message in problem for problem in found.problems(ROSTER))


def test_the_registrar_cannot_hide_a_commitment() -> None:
    kept = Register("case 1").add("A", "commit", {"digest": "aa"}, SIGNERS["A"])
    wrong = kept.add(REGISTRAR, "close", {"start": "s", "commitments": 2}, SIGNERS[REGISTRAR])
    found = wrong.release("model", 20, SIGNERS[REGISTRAR]).problems(ROSTER)
    assert any("another number of commitments" in problem for problem in found)


def opened() -> Register:
    return Register("case 1", WHOLE.entries[:3])


@pytest.mark.parametrize(
    ("signed", "message"),
    [
        (opened(), "A, B did not acknowledge"),
        (opened().acknowledge("A", SIGNERS["A"]), "B did not acknowledge"),
        (opened().acknowledge("A", SIGNERS["A"]).acknowledge("B", SIGNERS["A"]), "not signed by B"),
        (opened().acknowledge(REGISTRAR, SIGNERS[REGISTRAR]), "hospitals commit and acknowledge"),
        (
            opened()
            .acknowledge("A", SIGNERS["A"])
            .add("B", "acknowledge", {"close": WHOLE.entries[0].digest}, SIGNERS["B"]),
            "B acknowledges another closing line",
        ),
    ],
)
def test_every_hospital_must_sign_the_closing_line(signed: Register, message: str) -> None:
    found = signed.release("model", 20, SIGNERS[REGISTRAR]).problems(ROSTER)
    assert any(message in problem for problem in found)


def test_a_hospital_that_promised_nothing_must_sign_too() -> None:
    """Otherwise registrar and one hospital could leave all others' promises out."""
    signer = SIGNERS["A"]
    alone = Register("case 1").add("A", "commit", {"digest": "aa"}, signer).close("s", SIGNERS[REGISTRAR])
    found = alone.acknowledge("A", signer).release("model", 20, SIGNERS[REGISTRAR]).problems(ROSTER)
    assert any("B did not acknowledge" in problem for problem in found)


def test_signatures_after_the_release_come_too_late() -> None:
    late = opened().add(REGISTRAR, "release", {"model": "m", "rounds": 1}, SIGNERS[REGISTRAR])
    for name in ("A", "B"):
        late = late.acknowledge(name, SIGNERS[name])
    late = late.add(REGISTRAR, "end", {"lines": 7}, SIGNERS[REGISTRAR])
    assert any("not between it and the release" in problem for problem in late.problems(ROSTER))


def test_there_is_nothing_to_sign_before_the_closing_line() -> None:
    with pytest.raises(RegisterError, match="is not closed"):
        Register("case 1").acknowledge("A", SIGNERS["A"])


def test_a_model_released_before_the_closing_line_is_refused() -> None:
    early = Register("case 1").add(REGISTRAR, "release", {"model": "m", "rounds": 1}, SIGNERS[REGISTRAR])
    late = early.close("s", SIGNERS[REGISTRAR]).add(REGISTRAR, "end", {"lines": 3}, SIGNERS[REGISTRAR])
    assert any("before commitments were closed" in problem for problem in late.problems(ROSTER))


@pytest.mark.parametrize(
    "public",
    [
        "00" * 32,  # order 4
        "01" + "00" * 31,  # the neutral element: any record verifies
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "ee" + "ff" * 30 + "7f",  # not canonical
        "no key",
    ],
)
def test_keys_that_bind_nobody_are_refused(public: str) -> None:
    found = WHOLE.problems(ROSTER | {"A": public})
    assert any("the key of A is refused" in problem for problem in found)


def test_two_names_with_one_key_are_refused() -> None:
    assert any("share a key" in p for p in WHOLE.problems(ROSTER | {"B": ROSTER["A"]}))
    assert any("no registrar" in p for p in WHOLE.problems({"A": ROSTER["A"], "B": ROSTER["B"]}))


def _with(change: dict) -> str:
    return json.dumps(json.loads(WHOLE.text()) | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected exactly"),
        (_with({"note": "unsigned"}), "expected exactly"),
        (_with({"format": "other"}), "format is"),
        (_with({"case": 1}), "case is a int"),
        (WHOLE.text().replace('"case": "case 1"', '"case": "case 2", "case": "case 1"'), "stands twice"),
        (WHOLE.text().replace('"place": 1', '"place": NaN'), "no JSON number"),
        (WHOLE.text().replace('"place": 1', '"place": true'), "place is a bool"),
        (WHOLE.text().replace('"place": 1,', '"place": 1, "moment": "earlier",'), "expected exactly"),
    ],
)
def test_text_is_read_strictly(text: str, message: str) -> None:
    with pytest.raises(RegisterError, match=message):
        register.read(text)


def test_lines_that_cannot_stand_are_refused() -> None:
    with pytest.raises(RegisterError, match="has ended"):
        WHOLE.add("A", "commit", {}, SIGNERS["A"])
    with pytest.raises(RegisterError, match="not JSON"):
        Register("case 1").add("A", "commit", {"x": float("nan")}, SIGNERS["A"])
    with pytest.raises(RegisterError, match="action is 'win'"):
        Register("case 1").add("A", "win", {}, SIGNERS["A"])
