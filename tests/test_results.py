"""The one base of results: figures, rows, files that come back, and files that do not."""

import json
from dataclasses import dataclass

import pytest

from labkit.results import Result, ResultError, as_json
from labkit.stats import Interval


@dataclass(frozen=True)
class Toss(Result):
    heads: int
    share: float

    def numbers(self):
        return {"heads": self.heads, "share": self.share, "interval": Interval(0.5, 0.1, float("inf"))}


def test_a_result_comes_back_from_its_file(tmp_path):
    assert Toss.load(Toss(3, 0.6).save(tmp_path / "toss.pt")) == Toss(3, 0.6)


def test_json_holds_figures_that_any_json_reader_takes(tmp_path):
    text = Toss(3, 0.6).save(tmp_path / "toss.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["heads"] == 3
    assert found["interval"]["high"] == "inf"
    with pytest.raises(ResultError, match="figures only"):
        Toss.load(tmp_path / "toss.json")


def test_a_file_that_is_missing_damaged_or_another_result_names_itself(tmp_path):
    with pytest.raises(ResultError, match="not there"):
        Toss.load(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"half a file")
    with pytest.raises(ResultError, match=r"bad\.pt cannot be read"):
        Toss.load(tmp_path / "bad.pt")

    Result.save(Toss(1, 1.0), tmp_path / "toss.pt")
    with pytest.raises(ResultError, match="holds a Toss; expected a Other"):
        Other.load(tmp_path / "toss.pt")


@dataclass(frozen=True)
class Other(Result):
    heads: int


def test_a_result_without_numbers_or_picture_says_so():
    with pytest.raises(NotImplementedError, match="Other has no numbers"):
        Other(1).numbers()
    with pytest.raises(NotImplementedError, match="nothing to draw"):
        Other(1).plot()


def test_as_json_takes_nested_arrays():
    import numpy as np

    assert as_json({"a": (np.array([1.5, np.nan]), None, True)}) == {"a": [[1.5, "nan"], None, True]}


def test_a_notebook_shows_the_summary_as_text_and_cuts_no_long_cell():
    from IPython.lib.pretty import pretty

    assert pretty(Toss(3, 0.6)).startswith("Toss: heads 3, share 0.6")

    @dataclass(frozen=True)
    class Long(Result):
        def numbers(self):
            return {"statement": "ε = 1 " * 40}

    assert "ε = 1 " * 40 in Long()._repr_html_()
