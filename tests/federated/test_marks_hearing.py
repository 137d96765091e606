"""A dispute between two hospitals: who is shown to have taken part, and every way to cheat that was thought of."""

from __future__ import annotations

import numpy as np
import pytest
from marks_scenes import D, enrolment, federation, make_model, trained

from labkit.evidence import Signer
from labkit.federated import marks
from labkit.federated.marks import bits, hearing
from labkit.federated.marks.hearing import Claim
from labkit.federated.marks.promises import digest_of
from labkit.federated.marks.register import REGISTRAR, Register
from labkit.federated.rounds import begin, flatten
from labkit.watermark.marks.keys import Key

CASE = "five clinics"
NAMES = ("Hospital A", "Hospital B", "Hospital C", "Hospital D", "Hospital E", "Outsider")
SIGNERS = {name: Signer.from_seed(name.encode().ljust(32)) for name in (*NAMES, REGISTRAR)}
ROSTER = {name: signer.public for name, signer in SIGNERS.items()}
START = flatten(make_model())
A, B, OUT = "Hospital A", "Hospital B", "Outsider"


def promised(register: Register, name: str, key: Key, **changes: object) -> Register:
    settings = {"case": CASE, "start": digest_of(START), "public": ROSTER[name]}
    content = marks.promise(name, key, enrolment().terms, **settings) | changes
    return register.add(name, "commit", content, SIGNERS[name])


def early(**others: Key) -> Register:
    """Return the open register of the five, and of whoever else promises before round 1."""
    register = Register(CASE)
    for name, key in (enrolment().keys | others).items():
        register = promised(register, name, key)
    return register


def closed(register: Register, start: np.ndarray = START, signing: tuple[str, ...] = NAMES) -> Register:
    register = register.close(digest_of(start), SIGNERS[REGISTRAR])
    for name in signing:
        register = register.acknowledge(name, SIGNERS[name])
    return register


def ended(register: Register, weights: np.ndarray | None = None) -> Register:
    weights = trained() if weights is None else weights
    return closed(register).release(digest_of(weights), 12, SIGNERS[REGISTRAR])


def hear(register: Register, *claims: Claim, **settings: object) -> marks.Dispute:
    weights = settings.pop("weights", trained())
    given = {"roster": ROSTER, "start": START, "redraws": 199, "source": "test"} | settings
    return marks.dispute(register, claims, weights, **given)


def own(name: str) -> Claim:
    return Claim(name, enrolment().keys[name])


def test_two_who_took_part_are_both_shown_and_neither_alone_owns() -> None:
    found = hear(ended(early()), own(A), own(B))
    assert found.shown == (A, B)
    assert "none of them alone" in found.conclusion
    assert len(found.table()) == 2


def test_digest_of_the_start_is_that_of_the_first_state() -> None:
    assert digest_of(START) == begin(federation(0)).digest.hex()


def test_an_outsider_who_promised_early_is_not_shown() -> None:
    key = Key.from_phrase("outsider")
    found = hear(ended(early(**{OUT: key})), own(A), Claim(OUT, key))
    assert [each.finding for each in found.heard] == ["shown", "not shown"]
    assert "does not show that they took no part" in found.conclusion


def refused(found: marks.Dispute, message: str) -> bool:
    return found.shown == () and any(message in reason for reason in found.heard[0].reasons)


def test_a_late_commitment_is_refused() -> None:
    key = Key.from_phrase("late")
    late = promised(closed(early()), OUT, key).release(digest_of(trained()), 12, SIGNERS[REGISTRAR])
    assert refused(hear(late, Claim(OUT, key)), "after commitments were closed")


def test_a_registrar_and_one_hospital_cannot_backdate_a_promise() -> None:
    """After the release they seek a key that reads well, and write the register's end, or all of it, anew."""
    honest = ended(early())
    assert hear(honest, own(A)).shown == (A,)
    key = Key.from_phrase("sought after training")
    before = Register(CASE, honest.entries[: honest.line("close").place - 1])
    others = tuple(name for name in NAMES if name != OUT)
    carried = [entry for entry in honest.entries if entry.action == "acknowledge" and entry.actor != OUT]
    for rewritten in (
        promised(before, OUT, key),
        promised(Register(CASE), OUT, key),
    ):  # others' lines kept; cut
        alone = closed(rewritten, signing=(OUT,))
        for late in (
            alone,
            Register(CASE, (*alone.entries, *carried)),
        ):  # others unsigned; their old signatures
            late = late.release(digest_of(trained()), 12, SIGNERS[REGISTRAR])
            found = hear(late, Claim(OUT, key))
            assert found.shown == ()
            assert found.heard[0].strength is None  # refused before the mark is read
    message = f"{', '.join(others)} did not acknowledge the closing line"
    assert refused(hear(alone.release("m", 12, SIGNERS[REGISTRAR]), Claim(OUT, key)), message)


def test_the_registrar_and_all_hospitals_together_could_backdate() -> None:
    """The stated limit: who vouches for the order is everybody, so everybody can lie about it."""
    key = Key.from_phrase("sought after training")
    found = hear(ended(promised(early(), OUT, key)), Claim(OUT, key))
    assert found.heard[0].strength is not None


def test_a_copied_commitment_opens_for_its_author_alone() -> None:
    copied = early().commitments(A)[0].content
    register = ended(early().add(OUT, "commit", copied, SIGNERS[OUT]))
    assert refused(
        hear(register, Claim(OUT, enrolment().keys[A])), "does not open the commitment in this name"
    )
    assert hear(register, own(A)).shown == (A,)


def test_anothers_key_in_ones_own_name_draws_another_mark() -> None:
    found = hear(ended(early(**{OUT: enrolment().keys[A]})), Claim(OUT, enrolment().keys[A]))
    assert found.heard[0].finding == "not shown"


def test_a_key_sought_after_training_does_not_open_an_early_commitment() -> None:
    tried = (Key.from_phrase(f"ground {n}") for n in range(300))
    best = max(tried, key=lambda key: enrolment().terms.bit_mark(OUT, key).strength_in(trained()))
    register = ended(early(**{OUT: Key.from_phrase("any")}))
    assert refused(hear(register, Claim(OUT, best)), "sought later")


def test_a_key_sought_in_the_initial_weights_before_round_1_is_not_shown() -> None:
    """Initial weights are public and shine through: pulled in by hand here, as if millions of keys had been tried."""
    key = Key.from_phrase("ground early")
    mark = enrolment().terms.bit_mark(OUT, key)
    start = START.copy()
    for round in range(30):
        start += mark.pull(start, round)
    # The federation is as if it had started there: same training, same marks, other start.
    weights = trained() - START + start
    assert bits.chance(mark.strength_in(weights)) < 1e-3  # read plainly, the outsider would be believed
    settings = {"case": CASE, "start": digest_of(start)}
    register = Register(CASE)
    for name, k in (enrolment().keys | {OUT: key}).items():
        content = marks.promise(name, k, enrolment().terms, public=ROSTER[name], **settings)
        register = register.add(name, "commit", content, SIGNERS[name])
    register = closed(register, start).release(digest_of(weights), 12, SIGNERS[REGISTRAR])
    found = hear(register, own(A), Claim(OUT, key), weights=weights, start=start)
    assert found.shown == (A,)


def test_a_mark_put_in_after_training_decides_nothing() -> None:
    key = Key.from_phrase("overwriter")
    mark, weights = enrolment().terms.bit_mark(OUT, key), trained().copy()
    for round in range(20):
        weights += mark.pull(weights, round)
    assert mark.strength_in(weights) > 4
    register = ended(early(**{OUT: key}))
    assert refused(hear(register, Claim(OUT, key), weights=weights), "not the weights that were released")


def test_two_commitments_in_one_name_are_refused() -> None:
    register = ended(promised(early(), A, Key.from_phrase("second")))
    assert refused(hear(register, own(A)), "2 commitments in one name")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": 2}, "number 1"),
        ({"extra": 1}, "expected digest, start, terms and number 1"),
        ({"terms": {"bits": 128}}, "draw no mark"),
        ({"terms": None}, "draw no mark"),
    ],
)
def test_commitments_that_leave_something_free_are_refused(change: dict, message: str) -> None:
    register = ended(promised(Register(CASE), A, enrolment().keys[A], **change))
    assert refused(hear(register, own(A)), message)


def test_terms_changed_after_the_digest_do_not_open() -> None:
    from dataclasses import asdict

    terms = asdict(enrolment().terms) | {"bits": 64}
    register = ended(promised(Register(CASE), A, enrolment().keys[A], terms=terms))
    assert refused(hear(register, own(A)), "does not open")


def test_without_a_commitment_nothing_is_read() -> None:
    found = hear(ended(early()), Claim(OUT, Key.from_phrase("none")))
    assert refused(found, "has no commitment")
    assert found.heard[0].strength is None


def test_a_broken_register_refuses_everybody_and_convicts_nobody() -> None:
    cut = Register(CASE, ended(early()).entries[:-1])
    found = hear(cut, own(A), own(B))
    assert found.shown == ()
    assert "stays open" in found.conclusion
    other = hear(ended(early()), own(A), start=START + 1)
    assert refused(other, "other initial weights")


def test_a_federation_without_the_mark_that_reads_as_strong_stops_a_claim() -> None:
    found = hear(ended(early()), own(A), nulls=[trained() * 1.0 + 1e-9])
    assert found.heard[0].finding == "not shown"


def test_the_level_is_shared_among_all_commitments() -> None:
    assert hear(ended(early()), own(A), alpha=0.01).level == pytest.approx(0.002)


def test_claims_that_cannot_be_heard_are_refused() -> None:
    for claims, settings in (((), {}), ((own(A), own(A)), {}), ((own(A),), {"alpha": 0.0})):
        with pytest.raises(marks.MarkError, match="expected each claimant once"):
            hear(ended(early()), *claims, **settings)
    with pytest.raises(marks.MarkError, match="not distinct"):
        hear(ended(early()), own(A), nulls=[trained(marked=False)] * 2)


def test_the_key_is_not_in_what_is_written() -> None:
    text = ended(early()).text()
    assert not any(key.seed.hex() in text for key in enrolment().keys.values())
    assert len(hearing.added(trained(), START)) == D
