"""The court convicts the thieves and nobody else; its plan is fixed in advance; the answer key scores verdicts."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest
from court_stand_ins import BEFORE, RECIPE, RELEASED, network, world

from labkit import evidence
from labkit.watermark.court import claims, hearing, line_up
from labkit.watermark.court import verdicts as board
from labkit.watermark.court.affidavit import affidavit
from labkit.watermark.court.plan import QUERIES, Plan
from labkit.watermark.court.trial import Accused, try_suspects


@cache
def lined_up():
    everybody = world()
    # As many records as every null model had: suspects are exchangeable with them.
    others = replace(
        everybody.others,
        train_x=everybody.others.train_x[:700],
        train_y=everybody.others.train_y[:700],
        digest="",
    )
    return line_up.line_up(everybody.claim, everybody.forged, others, network, RECIPE, released=RELEASED)


@cache
def tried():
    everybody = world()
    return try_suspects(Plan(), lined_up().accused, everybody.nulls, everybody.owner)


def test_three_thieves_are_convicted_and_two_innocents_are_not():
    score = lined_up().score(tried())
    assert (score.right, score.innocents_convicted, score.thieves_missed) == (5, 0, 0)


def test_every_line_speaks_against_the_owners_own_model_and_the_rule_convicts_no_null_model():
    owner = next(control for control in tried().controls if control.claimant == "the owner")
    assert owner.speaking == list(Plan().queries)
    assert tried().false_claims.estimate <= 1 / 20
    assert tried().false_claims.method.endswith("40 trials")  # 20 null models for each of two claims


def test_no_line_speaks_against_the_innocents():
    innocents = [one.name for k, one in enumerate(lined_up().accused, 1) if not lined_up().reveal(k).derived]
    assert len(innocents) == 2
    for name in innocents:
        assert not tried()[name].speaking


def test_the_forgers_claim_is_dismissed_and_its_own_lines_fail_as_well():
    case = next(case for case in tried().cases if case.claimant == "the forger")
    assert case.verdict.startswith("claim dismissed: the triggers do not follow")
    assert not case.speaking


def test_alpha_is_shared_out_over_suspects_and_lines():
    assert Plan(alpha=0.02).threshold(5) == pytest.approx(0.02 / 20)
    assert tried().threshold == pytest.approx(1e-3 / 20)
    assert all(line.alpha == tried().threshold for case in tried().cases for line in case.lines.values())


def test_queries_are_those_of_the_plan_and_no_suspect_gets_more():
    everybody = world()
    plan = Plan(queries={"mark": 30, "mistakes": 40, "agreement": 50, "inference": 60}, needed=1)
    asked = []

    def counting(x):
        asked.append(len(x))
        return everybody.innocents[0](x).softmax(1).detach()

    verdicts = try_suspects(
        plan, [Accused("one", counting, everybody.claim)], everybody.nulls, everybody.owner
    )
    assert sum(asked) == 180 == verdicts["one"].queries


def test_a_plan_may_leave_lines_out():
    everybody = world()
    plan = Plan(queries={"mark": 50}, needed=1)
    verdicts = try_suspects(
        plan, [Accused("copy", everybody.marked.model, everybody.claim)], everybody.nulls, everybody.owner
    )
    assert list(verdicts["copy"].lines) == ["mark"]
    assert verdicts["copy"].derived


def test_a_late_commitment_voids_the_best_evidence():
    everybody = world()
    late = claims.bring("the owner", everybody.marked, everybody.owner, moment=RELEASED + timedelta(days=1))
    accused = Accused("copy", everybody.marked.model, late, RELEASED)
    verdicts = try_suspects(Plan(), [accused], everybody.nulls, everybody.owner)
    assert len(verdicts["copy"].speaking) == 4
    assert not verdicts["copy"].derived


def test_a_rehearsal_with_few_null_models_convicts_nobody():
    everybody = world()
    accused = [Accused("copy", everybody.marked.model, everybody.claim)]
    verdicts = try_suspects(Plan(minimum=5), accused, everybody.nulls[:6], everybody.owner)
    assert not verdicts["copy"].derived
    with pytest.raises(ValueError, match="got 6 null models; the plan asks for 20"):
        try_suspects(Plan(), accused, everybody.nulls[:6], everybody.owner)


def test_faults_of_a_plan_are_named():
    assert Plan().faults() == []
    careless = Plan(queries={"mistakes": 100}, alpha=0.05, needed=1, minimum=3)
    said = " ".join(careless.faults())
    for part in ("3 null models", "one innocent in 20", "one line alone", "who copied whom"):
        assert part in said
    assert "removed the mark" in Plan(queries={"mark": 100, "inference": 100}).faults()[0]


def test_the_digest_binds_every_setting():
    plans = [
        Plan(),
        Plan(alpha=0.01),
        Plan(seed=1),
        Plan(needed=3),
        Plan(queries={"mark": 99, "mistakes": 99}),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert Plan().digest == Plan().digest


@pytest.mark.parametrize(
    "settings",
    [
        {"queries": {"gossip": 50}},
        {"queries": {}},
        {"queries": {"mark": 5}},
        {"alpha": 1.5},
        {"needed": 5},
        {"needed": 0},
    ],
)
def test_plans_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        Plan(**settings)


def test_suspects_need_names_of_their_own():
    everybody = world()
    twice = [Accused("a", everybody.nulls[0], everybody.claim)] * 2
    for accused in (twice, []):
        with pytest.raises(ValueError, match="a name of its own"):
            try_suspects(Plan(), accused, everybody.nulls, everybody.owner)


def test_the_line_up_hides_the_truth_behind_numbers_and_seeds_shuffle_it():
    everybody = world()
    assert [one.name for one in lined_up().accused] == [f"suspect {k}" for k in range(1, 6)]
    shown = repr(lined_up()) + "".join(map(repr, lined_up().accused))
    assert not any(name in shown for name in line_up.ALL)
    orders = {tuple(np.random.default_rng([seed, 5]).permutation(5)) for seed in range(5)}
    assert len(orders) == 5
    assert {lined_up().reveal(k).name for k in range(1, 6)} == set(line_up.ALL)
    assert sum(lined_up().reveal(k).derived for k in range(1, 6)) == 3
    assert lined_up().number(2) is lined_up().accused[1]
    assert everybody.forged in [one.claim for one in lined_up().accused]
    for wrong in (0, 6):
        with pytest.raises(ValueError, match=f"no suspect {wrong}"):
            lined_up().number(wrong)


def test_the_answer_key_counts_both_kinds_of_error():
    names = [one.name for one in lined_up().accused]
    everybody_guilty = lined_up().score(dict.fromkeys(names, True))
    assert (
        everybody_guilty.right,
        everybody_guilty.innocents_convicted,
        everybody_guilty.thieves_missed,
    ) == (3, 2, 0)
    nobody = lined_up().score(dict.fromkeys(names, False))
    assert (nobody.right, nobody.innocents_convicted, nobody.thieves_missed) == (2, 0, 3)
    assert list(nobody.table().index) == names
    with pytest.raises(ValueError, match="expected one on each of suspect 1"):
        lined_up().score({"suspect 1": True})


def test_suspects_come_from_the_cache_the_second_time(monkeypatch):
    everybody = world()
    maker = line_up.Maker(everybody.claim, everybody.others, network, RECIPE, 0)
    first = line_up._made(maker, "pruned").state_dict()
    monkeypatch.setattr(line_up.removal, "remove", lambda *a, **k: pytest.fail("made again"))
    again = line_up._made(maker, "pruned").state_dict()
    assert all((first[name] == again[name]).all() for name in first)


def test_verdicts_show_save_and_sign_themselves(tmp_path):
    verdicts = tried()
    assert len(verdicts.table()) == 7
    assert "p-values" in verdicts.plot().alt_text
    assert verdicts.plan.digest in verdicts.save(tmp_path / "verdicts.json").read_text()
    assert "faint patterns" in str(verdicts)
    assert "<table" in verdicts._repr_html_()
    signer = evidence.Signer.from_seed(bytes(32))
    signed = evidence.record(
        "Case 1",
        [("court", "fix the plan", {"digest": verdicts.plan.digest}), ("court", "try", verdicts)],
        signer,
        moment=BEFORE,
    )
    assert evidence.Evidence.load(signed.save(tmp_path / "case.html")).verify(signer=signer.public) == signed
    assert Plan().queries == QUERIES


def test_the_board_shows_every_p_value_and_the_verdict_in_words():
    verdicts = tried()
    truth = {name: f"the truth about {name}" for name in verdicts.answers()}
    fig = verdicts.plot(truth)
    written = [text.get_text() for text in fig.axes[0].texts]
    for case in verdicts.cases:
        for line in case.lines.values():
            assert board.short(line.p_value) in written
    # Three thieves and two controls, the forger's accused, the innocent.
    assert [written.count(word) for word in ("derived", "dismissed", "not shown")] == [5, 1, 1]
    shown = [case.name for case in verdicts.cases]
    assert all(f"{name} ({truth[name]})" in fig.alt_text for name in shown)
    assert "accused by the owner" in "".join(
        label.get_text() for label in verdicts.plot().axes[0].get_yticklabels()
    )


def test_a_line_that_could_not_be_asked_is_written_as_such():
    everybody = world()
    strange = replace(
        everybody.claim,
        triggers=replace(everybody.claim.triggers, kind="mine"),
    )
    accused = [Accused("one", everybody.innocents[0], strange)]
    verdicts = try_suspects(Plan(), accused, everybody.nulls, everybody.owner)
    assert np.isnan(verdicts.p_values()).tolist() == [[True, False, False, False]]
    assert "no triggers" in [text.get_text() for text in verdicts.plot().axes[0].texts]
    assert set(verdicts.by_line()) == {"mistakes", "agreement"}


@pytest.mark.parametrize(
    ("p", "text"),
    [(1, "1"), (0.034, "0.034"), (0.00056, "6e-4"), (3.2e-12, "3e-12"), (1e-120, "< 1e-99"), (0, "< 1e-99")],
)
def test_p_values_are_written_shortly(p, text):
    assert board.short(p) == text


def test_an_expert_says_what_the_results_say_and_nothing_else():
    everybody, verdicts, score = world(), tried(), lined_up().score(tried())
    heard = hearing.hear(everybody.forged, everybody.innocents[0], everybody.nulls, everybody.owner)
    controls = {"a thief": verdicts.cases[0].lines}
    said = affidavit(everybody.claim, heard, controls, verdicts, score, released=RELEASED)
    flat = " ".join(said.split())
    assert f"{(RELEASED - BEFORE).days} days before" in flat
    assert verdicts.plan.digest[:12] in flat
    assert f"p = {heard.verdict.p_value:.2g}" in flat
    assert "5 of 5 verdicts are right: 0 innocents convicted, 0 thieves missed" in flat
    assert flat.count("is derived:") == 3
    assert "(claim dismissed)" in flat
    assert "rehearsal" not in flat
    assert max(map(len, said.splitlines())) <= 110
    with pytest.raises(ValueError, match="committed to nothing"):
        affidavit(
            replace(everybody.claim, commitment=None), heard, controls, verdicts, score, released=RELEASED
        )
