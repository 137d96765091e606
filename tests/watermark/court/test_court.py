"""The court convicts the thieves and nobody else; its plan is fixed in advance; the answer key scores verdicts."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest
import torch
from court_stand_ins import BEFORE, JUDGE, NOTARY, RECIPE, RELEASED, network, world

from labkit.cache import directory as cache_folder
from labkit.evidence import Evidence, Signer
from labkit.watermark.court import hearing, line_up
from labkit.watermark.court import verdicts as board
from labkit.watermark.court.affidavit import affidavit
from labkit.watermark.court.cases import Accused, Case
from labkit.watermark.court.docket import Docket
from labkit.watermark.court.plan import QUERIES, Plan
from labkit.watermark.court.trial import open_trial, try_suspects
from labkit.watermark.marks.keys import Key

PLAN = Plan(alpha=0.05)  # the more there is to convict, the fewer keys to draw


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
    return judged(PLAN, *lined_up().accused)


def judged(plan, *accused, nulls=None, docket=None):
    everybody = world()
    return try_suspects(
        plan,
        accused,
        everybody.nulls if nulls is None else nulls,
        everybody.owner,
        notary=NOTARY.public,
        judge=JUDGE,
        docket=Docket() if docket is None else docket,
    )


def test_thieves_who_kept_weights_are_convicted_and_innocents_are_not():
    """The extracted model resembles the owner's and no line with a direction speaks: related, and no more."""
    score = lined_up().score(tried())
    assert score.innocents_convicted == 0
    found = {lined_up().reveal(k).name: tried()[one.name] for k, one in enumerate(lined_up().accused, 1)}
    assert found["fine_tuned"].derived
    assert found["pruned"].derived
    assert found["extracted"].outcome in ("derived", "related")
    assert found["accused_by_forger"].outcome == "dismissed"
    assert found["independent"].outcome == "not shown"


def test_every_line_speaks_against_the_owners_own_model_and_the_rule_convicts_no_null_model():
    owner = next(control for control in tried().controls if control.claimant == "the owner")
    assert owner.speaking == list(Plan().queries)
    assert tried().false_claims.estimate <= 1 / 20
    assert tried().false_claims.method.endswith("20 trials")  # each null model once, whatever the claim


def test_no_line_speaks_against_the_innocents():
    innocents = [one.name for k, one in enumerate(lined_up().accused, 1) if not lined_up().reveal(k).derived]
    assert len(innocents) == 2
    for name in innocents:
        assert not tried()[name].speaking


def test_the_forgers_claim_is_dismissed_and_its_own_lines_fail_as_well():
    case = next(case for case in tried().cases if case.claimant == "the forger")
    assert case.verdict.startswith("claim dismissed: the triggers do not follow")
    assert not case.speaking


def test_alpha_is_shared_out_over_suspects_and_lines_with_a_direction():
    assert Plan(alpha=0.02).threshold(5) == pytest.approx(0.02 / 10)
    assert Plan(alpha=0.02, queries={"mark": 50, "mistakes": 50}).threshold(5) == pytest.approx(0.02 / 5)
    assert tried().threshold == pytest.approx(0.05 / 10)
    assert all(line.alpha == tried().threshold for case in tried().cases for line in case.lines.values())


def test_a_party_that_announced_ten_commitments_leaves_a_tenth_of_alpha():
    everybody = world()
    ten = replace(everybody.claim, commitment=replace(everybody.claim.commitment, of=10))
    level = {
        of: open_trial(
            PLAN,
            [Accused("one", everybody.innocents[0], claim, RELEASED)],
            everybody.nulls,
            everybody.owner,
            notary=NOTARY.public,
            judge=JUDGE,
        ).level
        for of, claim in ((1, everybody.claim), (10, ten))
    }
    assert level[10] == pytest.approx(level[1] / 10)


def test_a_suspect_is_asked_what_the_plan_says_shuffled_and_some_of_it_twice():
    everybody = world()
    plan = Plan(queries={"mark": 30, "mistakes": 40, "agreement": 50, "inference": 60}, alpha=0.05)
    asked = []

    def counting(x):
        asked.append(x)
        return everybody.innocents[0](x).softmax(1).detach()

    judged(plan, Accused("one", counting, everybody.claim, RELEASED))
    first = torch.cat(asked)[:1239]  # 180 questions, 1,000 ordinary records, and a twentieth of them again
    assert max(len(part) for part in asked) <= 100
    mark = {row.numpy().tobytes() for row in everybody.claim.triggers.x[:30]}
    places = [k for k, row in enumerate(first) if row.numpy().tobytes() in mark]
    assert len(places) >= 30
    assert np.ptp(places) > 500  # nowhere a batch of triggers


def test_a_plan_may_leave_lines_out():
    everybody = world()
    plan = Plan(queries={"mark": 50}, needed=1, alpha=0.05)
    verdicts = judged(plan, Accused("copy", everybody.marked.model, everybody.claim, RELEASED))
    assert list(verdicts["copy"].lines) == ["mark"]
    assert verdicts["copy"].derived


def test_lines_without_a_direction_never_convict():
    everybody = world()
    plan = Plan(queries={"mistakes": 400, "agreement": 400}, needed=1, alpha=0.05)
    case = judged(plan, Accused("copy", everybody.marked.model, everybody.claim, RELEASED))["copy"]
    assert case.speaking == ["mistakes", "agreement"]
    assert case.outcome == "related"
    assert any("nobody can be convicted" in fault for fault in plan.faults())
    with pytest.raises(ValueError, match="count as one"):
        replace(plan, needed=2)


def speaking(*names):
    """Return lines of these names that speak, and none of the others."""

    class Said:
        by, queries = "", 1

        def __init__(self, decided):
            self.decided = decided

    every = ("mark", "mistakes", "agreement", "inference")
    return {name: Said(name in names) for name in every}


@pytest.mark.parametrize(
    ("names", "needed", "outcome"),
    [
        (("mark", "mistakes"), 2, "derived"),
        (("inference", "agreement"), 2, "derived"),
        (("mark", "inference"), 2, "derived"),
        (("mistakes", "agreement"), 2, "related"),
        (("mistakes",), 1, "related"),
        (("mark",), 2, "not shown"),
        (("mark",), 1, "derived"),
        (("mark", "mistakes", "agreement"), 3, "not shown"),
        (("mark", "inference", "agreement"), 3, "derived"),
        ((), 1, "not shown"),
    ],
)
def test_the_rule_counts_likeness_once_and_asks_for_a_direction(names, needed, outcome):
    assert Case("s", "c", speaking(*names), (), needed).outcome == outcome
    assert Case("s", "c", speaking(*names), ("a problem",), needed).outcome == "dismissed"


def test_a_rehearsal_with_few_null_models_convicts_nobody():
    everybody = world()
    accused = Accused("copy", everybody.marked.model, everybody.claim, RELEASED)
    verdicts = judged(replace(PLAN, minimum=5), accused, nulls=everybody.nulls[:6])
    assert not verdicts["copy"].derived
    with pytest.raises(ValueError, match="got 6 null models; the plan asks for 20"):
        judged(PLAN, accused, nulls=everybody.nulls[:6])


def test_faults_of_a_plan_are_named():
    assert Plan().faults() == []
    careless = Plan(queries={"mistakes": 100}, alpha=0.05, needed=1, minimum=3)
    said = " ".join(careless.faults())
    for part in ("3 null models", "up to one trial of innocents in 20", "one line alone", "who copied whom"):
        assert part in said
    assert "removed the mark" in Plan(queries={"mark": 100, "inference": 100}).faults()[0]


def test_the_digest_binds_every_setting():
    plans = [
        Plan(),
        Plan(alpha=0.02),
        Plan(seed=1),
        Plan(needed=3),
        Plan(queries={"mark": 99, "mistakes": 99}),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert Plan().digest == Plan().digest


def test_the_digest_binds_suspects_claims_null_models_questions_and_the_court():
    everybody = world()
    one = Accused("one", everybody.innocents[0], everybody.claim, RELEASED)

    def bound(*accused, nulls=everybody.nulls, public=everybody.owner, **settings):
        settings = {"notary": NOTARY.public, "judge": JUDGE} | settings
        return open_trial(PLAN, accused, nulls, public, **settings).plan.digest

    fewer = replace(
        everybody.owner, test_x=everybody.owner.test_x[:1500], test_y=everybody.owner.test_y[:1500]
    )
    digests = [
        bound(one),
        bound(replace(one, name="another")),
        bound(replace(one, model=everybody.innocents[1])),
        bound(replace(one, claim=everybody.forged)),
        bound(replace(one, released=RELEASED + timedelta(days=1))),
        bound(replace(one, answer=everybody.forged)),
        bound(one, Accused("two", everybody.innocents[1], everybody.claim, RELEASED)),
        bound(one, nulls=[*everybody.nulls[1:], everybody.innocents[3]]),
        bound(one, public=fewer),
        bound(one, judge=Key.from_phrase("another secret")),
        bound(one, notary="00" * 32),
        bound(one, published=[everybody.owner.train_x[:300]]),
    ]
    assert len(set(digests)) == len(digests)
    assert bound(one) == digests[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"queries": {"gossip": 50}},
        {"queries": {}},
        {"queries": {"mark": 5}},
        {"alpha": 1.5},
        {"needed": 4},
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
            judged(PLAN, *accused)


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


def test_suspects_come_from_the_cache_the_second_time():
    everybody = world()
    maker = line_up.Maker(everybody.claim.model, everybody.others, network, RECIPE, 0)

    def kept():
        return {path: path.stat().st_mtime_ns for path in (cache_folder() / "suspects").glob("*.pt")}

    first = line_up.suspect(maker, "pruned").state_dict()
    files = kept()
    again = line_up.suspect(maker, "pruned").state_dict()
    assert all((first[name] == again[name]).all() for name in first)
    assert kept() == files != {}


def test_verdicts_show_save_and_sign_themselves(tmp_path):
    verdicts = tried()
    assert len(verdicts.table()) == 7
    assert "p-values" in verdicts.plot().alt_text
    assert verdicts.plan.digest in verdicts.save(tmp_path / "verdicts.json").read_text()
    assert "faint patterns" in str(verdicts)
    assert "<table" in verdicts._repr_html_()
    court, clerk = (Signer.from_seed(bytes([k] * 32)) for k in range(2))
    record = Evidence("1", "Case 1").add(
        "court", "plan", {"digest": verdicts.plan.digest}, court, moment=BEFORE
    )
    record = (
        record.witness("clerk", clerk, moment=BEFORE)
        .add("court", "try", verdicts, court)
        .close("court", court)
    )
    roster = {"court": court.public, "clerk": clerk.public}
    loaded = Evidence.load(record.save(tmp_path / "case.html"))
    assert loaded.verify(roster, case="1", witnessed=("plan",)) == record
    assert Plan().queries == QUERIES


def test_the_board_shows_every_p_value_and_the_verdict_in_words():
    verdicts = tried()
    truth = {name: f"the truth about {name}" for name in verdicts.answers()}
    fig = verdicts.plot(names=truth)
    written = [text.get_text() for text in fig.axes[0].texts]
    for case in verdicts.cases:
        for line in case.lines.values():
            assert board.shown(line) in written
    outcomes = [case.outcome for case in (*verdicts.cases, *verdicts.controls)]
    assert all(written.count(word) == outcomes.count(word) for word in outcomes)
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
    verdicts = judged(PLAN, Accused("one", everybody.innocents[0], strange, RELEASED))
    assert np.isnan(verdicts.p_values()).tolist() == [[True, False, False, False]]
    assert "not asked" in [text.get_text() for text in verdicts.plot().axes[0].texts]
    assert set(verdicts.by_line()) == {"mistakes", "agreement"}


@pytest.mark.parametrize(
    ("p", "exact", "text"),
    [
        (1, False, "1"),
        (0.034, False, "0.034"),
        (0.00056, False, "6e-4"),
        (3.2e-12, False, "< 1e-6"),
        (0.0005, True, "5e-4"),
        (0, False, "< 1e-6"),
    ],
)
def test_p_values_are_written_shortly_and_without_digits_that_nothing_carries(p, exact, text):
    assert board.short(p, exact=exact) == text


def test_an_expert_says_what_the_results_say_and_nothing_else():
    everybody, verdicts, score = world(), tried(), lined_up().score(tried())
    heard = hearing.hear(everybody.forged, everybody.innocents[0], everybody.nulls, everybody.owner)
    controls = {"a thief": verdicts.cases[0].lines}
    said = affidavit(everybody.claim, heard, controls, verdicts, score, released=RELEASED)
    flat = " ".join(said.split())
    assert f"{(RELEASED - BEFORE).days} days before" in flat
    assert verdicts.plan.digest[:12] in flat
    assert f"rank p = {heard.verdict.rank_p_value:.2g}" in flat
    assert f"{score.right} of 5 verdicts are right: 0 innocents convicted" in flat
    assert flat.count("is derived:") == sum(score.given.values())
    assert "(the court: dismissed)" in flat
    assert "resemblance in data is not theft" in flat
    assert "No control here shows what the rule makes of one" in flat
    assert "innocents who had none of the owner's records" in flat
    twin = replace(tried().cases[0], name="twin")
    told = affidavit(
        everybody.claim, heard, controls, verdicts, score, released=RELEASED, twins={"a twin": twin}
    )
    assert "No control here" not in told
    assert f"Control, a twin, which stole nothing and trained on those records: {twin.verdict}" in " ".join(
        told.split()
    )
    assert ("holds only if nobody else had" in " ".join(told.split())) == twin.derived
    few = replace(verdicts, null_models=4)
    rehearsed = affidavit(
        everybody.claim, heard, controls, few, score, released=RELEASED, twins={"a twin": twin}
    )
    assert "shows nothing of it" in " ".join(rehearsed.split())
    assert "rehearsal" not in flat
    assert max(map(len, said.splitlines())) <= 110
    with pytest.raises(ValueError, match="deposited no commitment"):
        affidavit(replace(everybody.claim, deposit=None), heard, controls, verdicts, score, released=RELEASED)
