from __future__ import annotations

import json
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from attack_stand_ins import SHORT, accuracy, dataset, innocent, patched, strength, wide_cnn

from labkit import stats
from labkit.watermark.attacks import removal
from labkit.watermark.marks import weights
from labkit.watermark.marks.answers import AnswerMarker, MarkedAnswers
from labkit.watermark.marks.keys import Key
from labkit.watermark.robustness import measure
from labkit.watermark.robustness.cells import Cell, best_dose, gap
from labkit.watermark.robustness.matrix import Matrix
from labkit.watermark.verification import verify

ATTACKS = ("prune", "fine-tune all")
OPTIONS = {"fine-tune all": {"records": 100, "recipe": SHORT}}
NULLS = 6


@pytest.fixture(autouse=True)
def _quiet_and_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


def nulls() -> list:
    return [innocent(seed) for seed in range(NULLS)]


def attacker():
    return replace(dataset(), train_x=dataset(seed=5).train_x, train_y=dataset(seed=5).train_y, digest="")


def run(marked, attacks=ATTACKS, **settings) -> Matrix:
    settings = {"options": OPTIONS, "minimum": NULLS, "workers": 1} | settings
    return measure.robustness_matrix(marked, attacks, nulls(), attacker(), **settings)


def other_scheme(seed: int = 0):
    return replace(patched(seed), scheme="patch, again")


def test_every_cell_holds_what_the_judge_says_of_the_attacked_model() -> None:
    marked = [patched(0), patched(1), other_scheme()]
    result = run(marked)
    assert len(result.cells) == 3 * (1 + 2 + 2)
    assert result.schemes == ["patch", "patch, again"]
    assert result.attacks == ["none", *ATTACKS]
    for mark in marked:
        for attack, dose in [(attack, dose) for attack in ATTACKS for dose in (0, 1)]:
            (cell,) = (
                c
                for c in result.cells
                if (c.scheme, c.attack, c.seed, c.dose) == (mark.scheme, attack, mark.seed, dose)
            )
            settings = removal.REMOVALS[attack].doses[dose] | OPTIONS.get(attack, {})
            model = removal.remove(attack, mark.model, attacker(), seed=mark.seed, **settings)
            verdict = verify.verify(model, mark.triggers, nulls(), minimum=NULLS)
            assert cell.p_value == verdict.p_value
            assert cell.strength.estimate == pytest.approx(strength(model, mark))
            assert cell.accuracy.estimate == accuracy(model, dataset())
            assert cell.lost == pytest.approx(accuracy(mark.model, dataset()) - accuracy(model, dataset()))


def test_untouched_models_lose_nothing_and_keep_their_mark() -> None:
    cell = run([patched()], ()).cells[0]
    assert (cell.attack, cell.lost, cell.verified, cell.beaten) == ("none", 0.0, True, False)
    assert cell.strength.estimate == patched().strength.estimate


def test_a_second_run_attacks_nothing_and_an_interrupted_one_only_the_rest(monkeypatch) -> None:
    done = []
    attack = removal.remove

    def counted(name, *rest, **options):
        done.append(name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return attack(name, *rest, **options)

    monkeypatch.setattr(removal, "remove", counted)
    with pytest.raises(KeyboardInterrupt):
        run([patched()])
    assert done == ["prune", "prune"]
    first = run([patched()])
    assert done == ["prune", "prune", "prune", "fine-tune all"]  # both doses of the last train alike here
    again = run([patched()])
    assert len(done) == 4
    assert again.numbers() == first.numbers()


def test_other_options_and_other_seeds_make_other_cells(monkeypatch) -> None:
    run([patched()], ("prune",))
    done = []
    attack = removal.remove
    monkeypatch.setattr(
        removal,
        "remove",
        lambda name, *rest, **options: done.append(options) or attack(name, *rest, **options),
    )
    run([patched()], ("mirror",))
    run([replace(patched(), seed=9)], ("prune",))
    run([patched()], ("prune",), alpha=0.5)  # alpha is judged after the cache
    run([patched()], ("prune",), options={"prune": {"share": 0.2}})
    assert [(o["seed"], o.get("share")) for o in done] == [(0, None), (9, 0.5), (9, 0.8), (0, 0.2)]


def test_a_worker_does_what_this_process_does() -> None:
    here = run([patched()], ("prune", "round", "prune + mirror"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(measure.cache.directory()) + "-of-workers")
        there = run([patched()], ("prune", "round", "prune + mirror"), workers=2)
    assert [replace(c, seconds=0) for c in here.cells] == [replace(c, seconds=0) for c in there.cells]


def test_a_dask_cluster_is_sent_the_records_once(monkeypatch) -> None:
    distributed = pytest.importorskip(
        "distributed", reason='dask is not installed: pip install "labkit[cluster]"'
    )
    here = run([patched()], ("prune", "round"))
    sent = []
    original = distributed.Client.scatter

    def scatter(self, values, *args, **options):
        sent.append(np.asarray(values).nbytes)
        return original(self, values, *args, **options)

    monkeypatch.setattr(distributed.Client, "scatter", scatter)
    monkeypatch.setenv("LABKIT_CACHE", str(measure.cache.directory()) + "-of-dask")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        there = run([patched()], ("prune", "round"), workers=2)
    assert [replace(c, seconds=0) for c in there.cells] == [replace(c, seconds=0) for c in here.cells]
    once = sum(part.numel() * part.element_size() for part in (attacker().train_x, attacker().test_x))
    assert once <= sum(sent) < 1.5 * once  # the labels are small


def test_a_white_box_mark_is_read_from_attacked_models_and_fitting_null_models() -> None:
    key = Key.from_phrase("white box")
    facts = {"layer": "4", "bits": 24}
    message = weights.read(patched().model, key, layer="4", bits=24)  # what is read is what was "embedded"
    mark = replace(patched(), scheme="bits", key=key, triggers=None, facts=facts | {"message": message})
    stranger = wide_cnn()
    options = {"distil": {"records": 50, "recipe": SHORT}}
    result = measure.robustness_matrix(
        [mark],
        ("round", "blur", "distil"),
        [*nulls(), stranger],
        attacker(),
        options=options,
        minimum=NULLS,
        workers=1,
    )
    for attack in ("none", "blur"):
        assert result.pooled("bits", attack).strength.estimate > 0.9, attack
        assert result.pooled("bits", attack).verified == 1
    gentle = next(c for c in result.cells if (c.attack, c.dose) == ("round", 0))
    assert gentle.strength.estimate > 0.9
    assert result.null_count == NULLS  # the stranger cannot be read
    # Another model's weights say nothing: 24 fair coins, more than 20 right with probability 1.4e-4.
    assert result.pooled("bits", "distil").strength.estimate < 21 / 24


def test_a_mark_at_the_interface_is_attacked_on_the_thief_s_model() -> None:
    marker = AnswerMarker(Key.from_phrase("interface"), share=0.1)
    victim = innocent(0)
    mark = replace(
        patched(),
        scheme="answers",
        model=MarkedAnswers(victim, marker).eval(),
        triggers=None,
        facts={"marker": marker},
    )
    thief = measure.surrogate(mark, attacker(), records=200, recipe=SHORT)
    sent, _ = removal.weights.some(attacker(), 200, measure.SURROGATE + mark.seed)
    assert len(thief.triggers) == marker.chosen(sent).sum() > 5
    assert thief.strength.estimate == pytest.approx(strength(thief.model, thief))
    assert run([thief], ("prune",)).schemes == ["answers"]
    with pytest.raises(ValueError, match=r"attack a thief's model"):
        run([mark])
    with pytest.raises(ValueError, match="marks no answers"):
        measure.surrogate(patched(), attacker())


def test_the_callers_own_attack_is_a_column_with_doses_and_can_begin_a_combination() -> None:
    own = {"swap": [lambda mark: innocent(40), lambda mark: innocent(41)]}
    names = ("swap", "swap + mirror")
    result = run([patched()], names, own=own, options={})
    strengths = {(c.attack, c.dose): c.strength.estimate for c in result.cells}
    mirrored = [removal.mirror(innocent(40), attacker(), 0)] * 2
    for attack, models in {"swap": [innocent(40), innocent(41)], "swap + mirror": mirrored}.items():
        for dose in range(2 if attack == "swap" else 1):
            assert strengths.get((attack, dose)) == pytest.approx(strength(models[dose], patched()))
    again = run([patched()], names, own={"swap": [lambda mark: innocent(42)]}, options={})
    assert {c.attack: c.strength.estimate for c in again.cells}["swap"] == strength(innocent(42), patched())


def test_attacks_in_a_row_are_done_in_that_order() -> None:
    data = attacker()
    result = run([patched()], ("prune + fine-tune all",), options={"fine-tune all": OPTIONS["fine-tune all"]})
    for cell, share in zip(result.cells[1:], (0.5, 0.8), strict=True):
        thin = removal.remove("prune", patched().model, data, seed=0, share=share)
        model = removal.remove("fine-tune all", thin, data, seed=0, **OPTIONS["fine-tune all"])
        assert cell.strength.estimate == pytest.approx(strength(model, patched()))


def test_the_attacker_chooses_its_best_dose() -> None:
    def dose(number: int, hits: int, p: float, lost: float) -> Cell:
        return replace(cell("prune", 1, hits, p, lost), dose=number)

    gentle, right, dear = dose(0, 95, 1e-9, 0.0), dose(1, 20, 0.2, 0.03), dose(2, 5, 0.4, 0.3)
    assert best_dose([gentle, right, dear]) is right
    assert best_dose([dear, gentle]) is dear  # taken at too high a price, which the verdict says
    weaker = dose(1, 60, 1e-9, 0.04)
    assert best_dose([gentle, weaker]) is weaker
    assert best_dose([dose(0, 95, 1e-9, 0.2), dose(1, 60, 1e-9, 0.3)]).dose == 0
    cells = (cell("none", 1, 100, 1e-9, 0.0), gentle, right, dear)
    made = Matrix(cells, 1e-3, 20, "made in the test", "smoke")
    assert made.verdict("patch", "prune") == "beaten"
    assert made.pooled("patch", "prune").cells == (right,)


def test_an_attack_costs_what_the_dose_costs_that_beats(made) -> None:
    dear = tuple(replace(cell("distil", s, 5, 0.4, 0.4), dose=1, seconds=9.0) for s in (1, 2, 3))
    row = replace(made, cells=(*made.cells, *dear)).attackers().loc["distil"]
    assert row["beats"] == "patch"
    assert row["accuracy lost (points)"] == pytest.approx(2.0)  # the other dose would have cost 40
    assert row["seconds a model"] == "1.0"
    theirs = replace(made, own=("distil",)).attackers()
    assert theirs.loc["distil", "seconds a model"] == "1.0 (distil itself not counted)"
    assert theirs.loc["prune", "seconds a model"] == "1.0"


def test_the_callers_own_attack_is_not_timed(monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def slow(_):
        clock[0] += 100
        return innocent(40)

    result = run([patched()], ("swap", "swap + mirror"), own={"swap": [slow]}, options={})
    assert result.own == ("swap",)
    assert clock[0] >= 200
    assert {cell.seconds for cell in result.cells} == {0}


def test_shares_left_are_compared_with_an_interval(made) -> None:
    less = gap(made.pooled("patch", "distil"), made.pooled("patch", "prune"))
    assert less.estimate == pytest.approx(0.05 - 0.92)
    assert less.high < 0
    same = gap(made.pooled("patch", "prune"), made.pooled("patch", "prune"))
    assert same.low < same.estimate == 0 < same.high  # equal in each seed, and triggers are still a sample
    one = replace(made, cells=tuple(c for c in made.cells if c.seed == 1))
    over_triggers = gap(one.pooled("patch", "prune"), one.pooled("patch", "none"))
    assert over_triggers.estimate == pytest.approx(-0.09)
    assert over_triggers.low < over_triggers.estimate < over_triggers.high < 0
    with pytest.raises(ValueError, match="same marked models"):
        gap(one.pooled("patch", "prune"), made.pooled("patch", "prune"))


def test_no_p_value_shows_digits_that_nothing_carries(made) -> None:
    tiny = replace(made, cells=tuple(replace(c, p_value=2e-257) for c in made.cells))
    assert set(tiny.wide("p-value").loc["patch"]) == {"< 1e-06"}


def test_a_pair_is_beaten_by_what_beats_both(made) -> None:
    other = [
        replace(c, scheme="bits", p_value=1e-9, verified=True)
        if c.attack == "distil"
        else replace(c, scheme="bits")
        for c in made.cells
    ]
    both = replace(made, cells=(*made.cells, *other)).pairs()
    assert list(both.index) == ["patch + bits"]
    assert list(both.loc["patch + bits"]) == ["", "noise"]  # distil leaves the bits; noise costs too much


def test_what_a_set_of_marks_leaves_uncovered(made) -> None:
    def others(name: str, **kept) -> list[Cell]:
        rest = [replace(c, scheme=name) for c in made.cells if c.attack not in kept]
        return rest + [
            cell(attack, seed, 90, p, 0.0, name) for attack, p in kept.items() for seed in (1, 2, 3)
        ]

    absent = [cell(a, s, 4, 0.5, 0.0, "faint") for a in made.attacks for s in (1, 2, 3)]
    all_of_them = replace(made, cells=(*made.cells, *others("bits", distil=1e-9), *absent))
    assert all_of_them.uncovered("patch") == ["distil"]  # noise costs more than it may
    assert all_of_them.uncovered("patch", "bits") == []
    assert all_of_them.uncovered("patch", "faint") == ["distil"]  # a mark that was never there covers nothing
    lucky = cell("distil", 1, 90, 1e-9, 0.0, "bits")
    some = tuple(
        lucky if (c.scheme, c.attack, c.seed) == ("bits", "distil", 1) else c for c in others("bits")
    )
    assert replace(made, cells=(*made.cells, *some)).uncovered("patch", "bits") == [
        "distil"
    ]  # one seed of three
    with pytest.raises(ValueError, match="expected some of patch"):
        made.uncovered("melt")
    with pytest.raises(ValueError, match="none"):
        made.uncovered()


def test_too_few_null_models_are_refused_before_any_attack(monkeypatch) -> None:
    monkeypatch.setattr(removal, "remove", lambda *_, **__: pytest.fail("attacked"))
    with pytest.raises(ValueError, match="null models"):
        run([patched()], minimum=20)
    facts = {"layer": "4", "bits": 8, "message": np.zeros(8, dtype=np.int64)}
    unreadable = [wide_cnn() for _ in range(NULLS)]
    mark = replace(patched(), triggers=None, facts=facts)
    with pytest.raises(ValueError, match="got 0 null models"):
        measure.robustness_matrix([mark], ATTACKS, unreadable, attacker(), minimum=NULLS, workers=1)


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="'melt'"):
        run([patched()], ("melt",))
    with pytest.raises(ValueError, match="have seed 0"):
        run([patched(), patched()])
    with pytest.raises(ValueError, match="neither triggers"):
        run([replace(patched(), triggers=None)])


def cell(attack: str, seed: int, hits: int, p: float, lost: float, scheme: str = "patch") -> Cell:
    right = stats.clopper_pearson(int(1000 * (0.8 - lost)), 1000)
    return Cell(scheme, attack, seed, stats.clopper_pearson(hits, 100), p, p < 1e-3, right, lost, 1.0)


@pytest.fixture
def made() -> Matrix:
    cells = [cell("none", seed, 100, 1e-9, 0.0) for seed in (1, 2, 3)]
    cells += [cell("prune", seed, 90 + seed, 1e-8 * seed, 0.01) for seed in (1, 2, 3)]
    cells += [cell("distil", seed, 5, 0.4, 0.02) for seed in (1, 2, 3)]
    cells += [cell("noise", seed, 5, 0.4, 0.2) for seed in (1, 2, 3)]
    return Matrix(tuple(cells), 1e-3, 20, "made in the test", "smoke")


def test_seeds_are_pooled_with_intervals_and_the_worst_p_value(made) -> None:
    prune = made.pooled("patch", "prune")
    assert prune.strength == stats.mean_interval([0.91, 0.92, 0.93])
    assert prune.p_value == pytest.approx(3e-8)
    assert (prune.verified, prune.beaten) == (3, 0)
    assert made.pooled("patch", "distil").beaten == 3
    assert made.pooled("patch", "noise").beaten == 0  # twenty points lost: the thief has no model left to use
    with pytest.raises(ValueError, match="no cell"):
        made.pooled("patch", "melt")


def test_a_verdict_counts_all_seeds_whose_mark_was_there(made) -> None:
    assert [made.verdict("patch", a) for a in made.attacks] == ["holds", "holds", "beaten", "costly"]
    mixed = replace(
        made, cells=(*made.cells[:-3], *(cell("noise", s, 5, 0.4, 0.1 * (s > 1)) for s in (1, 2, 3)))
    )
    assert mixed.verdict("patch", "noise") == "costly"  # beaten in one seed, too dear in two
    half = replace(made, cells=(*made.cells[:-1], cell("noise", 3, 90, 1e-8, 0.0)))
    assert half.verdict("patch", "noise") == "differ"
    assert half.survivors().loc["patch", "seeds differ"] == "noise"
    weak = (cell("none", 1, 4, 0.5, 0.0), *made.cells[1:])
    assert replace(made, cells=weak).verdict("patch", "prune") == "holds"
    assert not any(c.beaten for c in weak if c.attack == "none")


def test_a_mark_that_was_never_there_is_beaten_by_nobody(made) -> None:
    never = [cell(a, s, 4, 0.5, 0.0, "faint") for a in made.attacks for s in (1, 2, 3)]
    both = replace(made, cells=(*made.cells, *never))
    assert {both.verdict("faint", a) for a in both.attacks} == {"absent"}
    assert list(both.survivors().loc["faint"]) == ["", "", "", ""]
    assert both.under("distil", "beaten") == ["patch"]
    table = both.attackers()
    assert list(table.index) == ["prune", "distil", "noise"]
    assert table.loc["distil", "beats"] == "patch"
    assert table.loc["noise", "accuracy lost (points)"] == pytest.approx(
        10.0
    )  # 20 for one scheme, 0 for the other


def test_one_seed_keeps_its_own_interval(made) -> None:
    one = replace(made, cells=made.cells[3:4])
    assert one.pooled("patch", "prune").strength == stats.clopper_pearson(91, 100)
    lost = one.pooled("patch", "prune").lost
    assert lost.low < lost.estimate == 0.01 < lost.high


def test_it_shows_and_saves_itself(made, tmp_path) -> None:
    assert list(made.wide("p-value").columns) == ["none", "prune", "distil", "noise"]
    assert made.table().loc[("patch", "prune"), "verified"] == "3 of 3"
    survived = made.survivors().loc["patch"]
    assert survived["beaten by"] == "distil"
    assert survived["holds under"] == "prune"
    assert survived["gone at too high a price"] == "noise"  # neither beaten nor survived
    alt = made.plot().alt_text
    assert "distil 5% (beaten)" in alt
    assert "noise 5% (costly)" in alt
    assert "prune 92% (holds)" in alt
    saved = json.loads(made.save(tmp_path / "matrix.json").read_text(encoding="utf-8"))
    assert len(saved["cells"]) == 12
    assert saved["cells"][6]["beaten"] is True
    assert "seeds 1, 2, 3" in made._repr_html_()
    with pytest.raises(ValueError, match="expected one of strength"):
        made.wide("speed")


def test_a_rehearsal_says_so(made) -> None:
    assert "rehearsal" in replace(made, null_count=4).note
    assert "rehearsal" not in made.note
    assert np.isfinite(made.pooled("patch", "none").strength.estimate)
    assert torch.is_tensor(patched().triggers.x)
