"""Redaction: what is removed, what is missed, and that the rates and their intervals mean what they say."""

from __future__ import annotations

import re
import socket
import sys

import pytest

from labkit import stats
from labkit.governance import finders
from labkit.governance.finders import PATTERNS, Finder, NotInstalledError, Span
from labkit.governance.findings import ReviewError
from labkit.governance.notes import FORMS, KINDS, Note, check_digit, is_record_number, make_notes
from labkit.governance.redaction import RedactionReport, measure, merged, redact

NOTES = make_notes(80, seed=1)


def knowing(notes: list[Note], keep: float = 1.0) -> Finder:
    """A finder that knows the truth, and takes the first part of each item."""
    truth = {note.text: note.items for note in notes}

    def find(text: str) -> list[Span]:
        return [Span(i.start, i.start + round(keep * (i.end - i.start)), i.kind) for i in truth[text]]

    return Finder("truth", KINDS, find)


def test_each_note_holds_one_item_of_each_kind_where_it_says():
    for note in NOTES:
        assert sorted(item.kind for item in note.items) == sorted(KINDS)
        number = re.sub(r"\D", "", note.text[note.of_kind("record number").start :][:10])
        mistyped = note.of_kind("record number").form == "one digit mistyped"
        assert is_record_number(number) != mistyped
        assert "@" in note.text or " at example dot org" in note.text


def test_notes_depend_on_their_seed_and_place_alone():
    assert make_notes(5, seed=1) == NOTES[:5]
    assert make_notes(5, seed=2) != NOTES[:5]
    assert len({note.text for note in NOTES}) == len(NOTES)
    with pytest.raises(ValueError, match="at least one"):
        make_notes(0)


def test_the_check_digit_notices_every_mistyped_digit():
    number = "4711203" + str(check_digit("4711203"))
    others = {number[:i] + d + number[i + 1 :] for i in range(8) for d in "0123456789"} - {number}
    assert is_record_number(number)
    assert not any(is_record_number(other) for other in others)


def test_a_finder_that_knows_the_truth_removes_all_and_flags_nothing_else():
    found = measure(NOTES, knowing(NOTES))
    assert all(one.removed.estimate == 1 and one.right.estimate == 1 for one in found.kinds)
    assert found.clean.estimate == 1


def test_half_an_identifier_still_leads_to_the_person():
    assert all(one.removed.estimate == 0 for one in measure(NOTES, knowing(NOTES, keep=0.6)).kinds)


def test_whoever_blackens_everything_is_not_called_precise():
    everything = Finder("all", KINDS, lambda text: [Span(0, len(text), kind) for kind in KINDS])
    found = measure(NOTES, everything)
    assert all(one.removed.estimate == 1 for one in found.kinds)
    assert all(one.right.estimate < 0.2 for one in found.kinds)


def test_rates_are_shares_of_notes_with_exact_intervals():
    found = measure(NOTES, finders.patterns())
    assert {one.kind for one in found.kinds} == set(KINDS)
    phone = next(one for one in found.kinds if one.kind == "phone")
    hits = sum(note.of_kind("phone").form != "without area code" for note in NOTES)
    assert phone.removed == stats.clopper_pearson(hits, len(NOTES))
    assert sum(one.notes for one in found.forms if one.kind == "phone") == len(NOTES)


def test_what_has_no_recogniser_is_missed_every_time_and_the_table_says_so():
    found = measure(NOTES, finders.patterns())
    for one in found.kinds:
        if one.kind not in PATTERNS:
            assert one.removed.estimate == 0
            assert one.right is None
    assert found.table().loc["name", "notes flagged rightly (precision)"] == "never flagged"
    assert found.clean.high < 0.05


def test_a_check_digit_buys_precision_and_costs_what_was_mistyped():
    found = measure(NOTES, finders.patterns())
    by_form = {one.form: one.removed.estimate for one in found.forms if one.kind == "record number"}
    assert by_form["1234-5678"] == 1
    assert by_form["one digit mistyped"] == 0
    assert "Infusion pump serial" in " ".join(
        note.text for note in NOTES
    )  # eight digits, rarely with the right last one
    assert next(one for one in found.kinds if one.kind == "record number").right.estimate > 0.7


def test_spans_that_overlap_become_one_named_after_the_longest():
    spans = [Span(0, 4, "phone"), Span(2, 9, "date"), Span(12, 13, "e-mail")]
    assert merged(spans) == [Span(0, 9, "date"), Span(12, 13, "e-mail")]
    twice = Finder("twice", KINDS, lambda text: [Span(0, 4, "phone"), Span(0, 4, "phone")])
    assert redact("0123 rest", twice) == "[PHONE] rest"


def test_a_redacted_text_holds_none_of_what_was_found():
    finder = finders.patterns()
    for note in NOTES:
        left = redact(note.text, finder)
        assert finder.find(left) == []
        assert all(note.text[span.start : span.end] not in left for span in finder.find(note.text))


def test_a_report_shows_saves_and_loads_itself(tmp_path):
    found = measure(NOTES, finders.patterns())
    assert RedactionReport.load(found.save(tmp_path / "missed.result")) == found
    assert '"clean notes"' in found.save(tmp_path / "missed.json").read_text(encoding="utf-8")
    assert all(kind in found.plot().alt_text for kind in KINDS)
    assert len(found.by_form()) == sum(len(forms) for _, forms in FORMS.values())


def test_nothing_is_not_measured():
    with pytest.raises(ReviewError, match="got no notes"):
        measure([], finders.patterns())


def test_without_presidio_the_message_has_the_command_and_the_way_out(monkeypatch):
    finders._analyzer.cache_clear()  # it may have been found before
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(NotInstalledError, match=r"pip install .*labkit\[bridges\].*patterns\(\)"):
        finders.presidio()


@pytest.fixture(scope="module")
def presidio() -> Finder:
    pytest.importorskip("presidio_analyzer")
    return finders.presidio()


def test_presidio_runs_offline_with_our_record_numbers(presidio, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    text = "MRN 4711-2032, pump 4711-2033, call (212) 555-0143, maria@example.org, Maria Gonzalez"
    left = "MRN [RECORD NUMBER], pump 4711-2033, call [PHONE], [E-MAIL], Maria Gonzalez"
    assert redact(text, presidio) == left


def test_presidio_without_a_language_model_finds_no_name_and_no_address(presidio):
    found = {one.kind: one for one in measure(NOTES[:40], presidio).kinds}
    assert found["name"].removed.estimate == found["address"].removed.estimate == 0
    assert found["e-mail"].removed.estimate > 0.4
    assert "no language model" in presidio.name


def test_presidios_anonymizer_removes_the_very_same_characters(presidio):
    engine = pytest.importorskip("presidio_anonymizer").AnonymizerEngine()
    from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

    keep_name = {"DEFAULT": OperatorConfig("replace")}
    for note in NOTES[:20]:
        spans = merged(presidio.find(note.text))
        given = [RecognizerResult(span.kind.upper(), span.start, span.end, 1.0) for span in spans]
        theirs = engine.anonymize(note.text, given, keep_name).text
        assert theirs.replace("<", "[").replace(">", "]") == redact(note.text, presidio)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(threshold):
    with pytest.raises(ReviewError, match="expected 0 to 1"):
        finders.presidio(threshold=threshold)
