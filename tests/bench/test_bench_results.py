"""What benchmarks return is a result like any other: figures, rows, picture, files that come back."""

import json

import pytest

from labkit import plots
from labkit.bench import federated, membership, private_steps, report, step_costs, watermark
from labkit.results import Result
from labkit.stats import clopper_pearson
from labkit.watermark.court.simulation import LEVELS, SimulatedTrials

LINES = (report.Line("a model", 0.5, 1.0, "plain loop"), report.Line("an attack", 2.0, 1.0, "another tool"))
TIMES = report.Bench(LINES, {"cores": 2}, ("a note",))
CASE = federated.Case(4, 10, 1)
COST = federated.Cost(CASE, "labkit", (1.0, 0.5, 2.0), (1.0, 0.5, 2.0), 3.0, 40.0, 0.0, 100, 2)
NEEDS = (watermark.Need("patch", 0.9, 0.1, 50, 12), watermark.Need("faint", 0.1, 0.1, 50, None))
SMALL = {("mark", level): clopper_pearson(round(2000 * level), 2000) for level in LEVELS}
TRIALS = SimulatedTrials(1000, 2, 0.05, "an honest owner", 40, {"not shown": 2000}, SMALL, 0, "smoke")
BENCHES = (
    TIMES,
    federated.FederatedBench(TIMES, (COST,)),
    watermark.MarkBench(TIMES, NEEDS, "made", 2),
    private_steps.Bench({"cores": "2"}, 8, (step_costs.Cost("CNN", "plain", (0.1, 0.2, 0.3), 1.0, 1.0),), ()),
)


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: type(bench).__name__)
def test_a_benchmark_is_a_result(bench: Result, tmp_path) -> None:
    assert type(bench).load(bench.save(tmp_path / "bench.whole")) == bench
    written = json.loads(bench.save(tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert written.keys() == {"result", *bench.numbers()}
    assert len(bench.table())
    fig, ax = plots.figure()
    assert bench.plot(ax) is fig
    assert bench.summary() in bench.plot().alt_text


def test_nothing_compared_is_nothing_drawn() -> None:
    with pytest.raises(NotImplementedError, match="no peer was measured"):
        report.Bench((), {}).plot()
    with pytest.raises(NotImplementedError, match="no mark is provable"):
        watermark.MarkBench(TIMES, NEEDS[1:], "made", 2).plot()


def test_the_rate_of_convicted_innocents_is_printed_with_its_interval() -> None:
    text = str(watermark.MarkBench(TIMES, NEEDS, "made", 2, TRIALS))
    assert "40 of 1,000 trials of 2 innocents each" in text
    assert "4.00% [2.87, 5.41] (95%, Clopper-Pearson), alpha 5%" in text


@pytest.mark.parametrize("main", [membership.main, private_steps.main])
def test_a_file_that_is_no_json_is_refused_before_anything_is_measured(main, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--json", "bench.txt"])
    assert "does not end in .json" in capsys.readouterr().err
