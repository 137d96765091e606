from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from labkit import membership, stats
from labkit.membership.attacks import registry
from labkit.membership.reports import curves, intervals
from labkit.membership.studies import leave_one_out


@dataclass(frozen=True)
class Ceiling:
    """Stands in for a PrivacyStatement: all that a report asks of one."""

    epsilon: float

    def roc_ceiling(self, fpr: np.ndarray) -> np.ndarray:
        return np.minimum(np.exp(self.epsilon) * fpr, 1 - np.exp(-self.epsilon) * (1 - fpr))


@pytest.fixture
def reported(make):
    made = make(n=2400, m=400, effect=2.0)
    return membership.attack("lira-online", made.target, made.bank).report()


def test_report_holds_every_figure_with_an_interval_or_a_reason(reported) -> None:
    text = str(reported)
    for part in (
        "AUC",
        "balanced accuracy",
        "TPR at 1% FPR",
        "labels shuffled",
        "precision at 1% FPR, prior 10%",
    ):
        assert part in text
    assert "TPR at 0.1% FPR needs 10,000 non-member scores; there are 1,200" in text
    assert reported.auc.low < reported.auc.estimate < reported.auc.high
    assert reported.control.alarm
    assert reported.control.auc.low < 0.5 < reported.control.auc.high
    assert reported.level == 0.01
    assert list(reported.by_group().index) == ["a", "b", "c", "d"]
    assert sum(n for n, _ in reported.groups.values()) == 2400
    assert "drawn outputs" in reported._repr_html_()


def test_small_groups_are_refused(make) -> None:
    made = make(n=40)
    groups = membership.attack("loss", made.target, made.bank).report().groups
    assert any("on one side; needs 10" in str(value) for _, value in groups.values())


def test_report_saves_what_it_shows(reported, tmp_path) -> None:
    saved = json.loads(reported.save(tmp_path / "deep" / "report.json").read_text(encoding="utf-8"))
    assert saved["auc"]["estimate"] == reported.auc.estimate
    assert saved["tpr_at_fpr"]["0.001"]["reason"].startswith("TPR at 0.1%")
    assert saved["source"] == "drawn outputs"
    assert saved["members"] + saved["non_members"] == 2400


def test_plot_has_log_axes_a_band_and_the_ceiling(make) -> None:
    made = make(n=2400, m=400, effect=2.0)
    target = replace(made.target, privacy=Ceiling(1.0))
    report = membership.attack("lira-online", target, made.bank).report()
    figure = report.plot()
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(axes.collections) == 1
    assert "ceiling at ε = 1.00" in [t.get_text() for t in axes.get_legend().get_texts()]
    assert "drawn outputs" in figure.alt_text
    assert "AUC allowed by the ceiling" in str(report)


def test_ceiling_auc_by_hand() -> None:
    # Pure DP: the two lines meet at f = 1 / (1 + e^eps); the area is 1 - f.
    for epsilon in (0.0, 1.0, 5.0):
        assert curves.ceiling_auc(Ceiling(epsilon)) == pytest.approx(1 - 1 / (1 + np.exp(epsilon)), abs=1e-4)


def test_curve_follows_the_definition() -> None:
    rng = np.random.default_rng(0)
    members = np.arange(600) < 300
    scores = np.round(rng.normal(size=600) + members, 1)
    curve = curves.of_one("x", scores, members)
    for rate, tpr in zip(curve.fpr[::20], curve.tpr[::20], strict=True):
        allowed = [
            (scores[members] >= t).mean() for t in scores if (scores[~members] >= t).mean() <= rate + 1e-12
        ]
        assert tpr == pytest.approx(max([0.0, *allowed]))
    assert (curve.low <= curve.tpr).all()
    assert (curve.tpr <= curve.high).all()


def test_exposed_records_come_first_and_are_drawn(reported) -> None:
    table = reported.exposed(5)
    assert table["score"].is_monotonic_decreasing
    assert table["score"].iloc[0] == reported.result.scores.max()
    assert "most exposed members" in reported.plot_exposed(6).alt_text


def test_records_that_are_no_pictures_cannot_be_drawn(bank) -> None:
    report = membership.attack("loss", bank.target(0), bank).report()
    with pytest.raises(ValueError, match="not images"):
        report.plot_exposed()


def test_results_refuse_nan_and_one_sided_truth(reported) -> None:
    result = reported.result
    with pytest.raises(ValueError, match="scores record 3 as nan"):
        replace(result, scores=np.where(np.arange(2400) == 3, np.nan, result.scores))
    with pytest.raises(ValueError, match="one kind only"):
        replace(result, members=np.ones(2400, dtype=bool))
    with pytest.raises(ValueError, match="as many of each"):
        replace(result, labels=result.labels[:5])


def test_leave_one_out_attacks_every_model(bank) -> None:
    found = membership.leave_one_out(bank, "lira-online")
    assert [r.target for r in found.results] == [f"shadow {k}" for k in range(8)]
    assert {r.shadows for r in found.results} == {6}
    assert found.auc == stats.mean_share(found.aucs)
    assert found.auc.low > 0.5  # a tenth of the labels are noise that the networks memorise
    assert "refused" in str(found)
    assert found.vulnerability().shape == (400,)
    assert found.plot().alt_text


def test_vulnerable_records_are_those_with_wrong_labels(bank, clouds) -> None:
    found = membership.leave_one_out(bank, "lira-online").vulnerability()
    from labkit.membership.shadows import training

    clean = (np.arange(600) % 2)[training.pool_of(clouds, 400, 0).numpy()]
    flipped = clean != bank.labels
    assert found[flipped].mean() > found[~flipped].mean() + 0.5


def null_aucs(make, *, drop_partner: bool) -> float:
    aucs = []
    for seed in range(30):
        bank = make(models=4, n=400, m=10, effect=0.0, queries=1, seed=seed).bank
        for k in range(4):
            logits = bank.logits(k)
            target = replace(
                make(models=2, n=2, m=10, queries=1).target,
                logits=logits,
                population_logits=bank.logits(k, part="population"),
                members=bank.masks[k],
            )
            rest = bank.without(k) if drop_partner else bank.select([j for j in range(4) if j != k])
            # Distance to the mean of the models without the record: noisier with fewer of them.
            scores = -np.abs(membership.attacks.thresholds.calibrated(target, rest))
            aucs.append(stats.auc(scores[target.members], scores[~target.members]))
    return float(np.mean(aucs))


def test_leaving_out_the_partner_too_removes_a_leak(make) -> None:
    # 120 AUCs, 400 records each, standard deviation .029: the mean's standard error is .003 (a little more, for the
    # records shared within a bank). Without the partner's removal members have one "out" model more than non-members.
    assert abs(null_aucs(make, drop_partner=True) - 0.5) < 0.015
    assert null_aucs(make, drop_partner=False) > 0.515


def test_fewer_shadow_models_on_request(bank) -> None:
    found = membership.leave_one_out(bank, "rmia-offline", shadow_models=2, label="two")
    assert {r.shadows for r in found.results} == {2}
    assert found.name == "two"
    for bad in (3, 8):
        with pytest.raises(ValueError, match=f"shadow_models is {bad}"):
            membership.leave_one_out(bank, "rmia-offline", shadow_models=bad)
    with pytest.raises(ValueError, match="at least 2"):
        membership.leave_one_out(bank, "loss", targets=[1])


def test_attacks_compare_on_the_same_targets(bank, tmp_path) -> None:
    parts = [membership.leave_one_out(bank, name) for name in ("gap", "loss", "lira-online")]
    comparison = membership.compare(parts)
    assert list(comparison.table().columns) == [
        "AUC",
        "TPR at 1% FPR",
        "TPR at 0.1% FPR",
        "TPR at 0.01% FPR",
        "from",
    ]
    assert len(comparison.plot().axes[0].collections) == 3
    gap = leave_one_out.difference(parts[2], parts[1])
    assert gap.estimate == pytest.approx(parts[2].auc.estimate - parts[1].auc.estimate)
    paired = comparison.differences()
    assert len(paired) == 3
    assert "3 intervals, jointly 95%" in paired.columns[0]
    wider = leave_one_out.difference(parts[2], parts[1], confidence=1 - 0.05 / 3)
    assert str(wider) == paired.loc["lira-online - loss"].iloc[0]
    saved = json.loads(comparison.save(tmp_path / "c.json").read_text(encoding="utf-8"))
    assert saved["auc_differences"]["lira-online - loss"]["low"] == wider.low < gap.low
    again = membership.Comparison.load(comparison.save(tmp_path / "c.pt"))
    assert again.numbers() == comparison.numbers()


def test_results_of_different_targets_are_not_paired(bank) -> None:
    whole, few = (membership.leave_one_out(bank, "loss", targets=t) for t in (None, [0, 1]))
    with pytest.raises(ValueError, match="cannot be paired"):
        leave_one_out.difference(whole, few)
    # Equal names prove nothing: these two targets bear one name and were trained on other halves.
    one, other = membership.train_targets(bank, seeds=[1, 2], name="t")
    found = [
        leave_one_out.summarise("loss", [membership.attack("loss", replace(t, name="t"), bank)] * 2)
        for t in (one, other)
    ]
    with pytest.raises(ValueError, match="differ in their members"):
        leave_one_out.difference(*found)
    reports = [part.results[0].report(permutations=40) for part in found]
    with pytest.raises(ValueError, match="differ in their members"):
        membership.compare(reports)


def test_reports_compare_with_their_ceilings_and_in_pairs(make) -> None:
    made = make(n=2400, m=400)
    private = replace(made.target, privacy=Ceiling(2.0))
    parts = [membership.attack(n, private, made.bank).report() for n in ("loss", "watson")]
    comparison = membership.compare(parts)
    texts = [t.get_text() for t in comparison.plot().axes[0].get_legend().get_texts()]
    assert texts.count("ceiling at ε = 2.00") == 1
    better, worse = sorted(parts, key=lambda part: -part.auc.estimate)
    paired = intervals.auc_difference(better.result.scores, worse.result.scores, private.members)
    assert comparison.differences().iloc[0, 0] == str(paired)
    with pytest.raises(ValueError, match="one source"):
        membership.compare([])


def test_results_draw_on_given_axes_and_load_again(reported, tmp_path) -> None:
    from labkit import plots

    figure, axes = plots.figure()
    assert reported.plot(axes) is figure
    again = membership.Report.load(reported.save(tmp_path / "report.pt"))
    assert again.numbers() == reported.numbers()
    assert again.result.numbers()["attack"] == "lira-online"


def test_every_attack_is_cited() -> None:
    for name, entry in registry.ATTACKS.items():
        assert "arXiv" in entry.citation, name
        assert entry.score.__doc__, name
