"""The example submissions: their reports as they are committed, and how the owner's records are found again."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from labkit.data import Dataset
from labkit.governance import verify_report
from labkit.scenarios import review_examples

REPORTS = Path(__file__).parents[2] / "solutions" / "reviews"


@pytest.mark.parametrize("ending", [".html", ".md"])
@pytest.mark.parametrize("name", review_examples.EXAMPLES)
def test_each_example_has_a_report_that_is_as_it_was_signed(name, ending):
    page = REPORTS / f"{name}{ending}"
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 400_000
    assert not re.search(r"""(?:src|href)\s*=\s*(?!["'](?:data:|#))|url\(|@import|<link""", text)
    # The page's own key: it shows that nothing was changed since, and no more is claimed of a practice report.
    (public,) = set(re.findall(r"public key ([0-9a-f]{64})", text))
    assert verify_report(page, public).entries[2].action == "decision"


def test_records_are_found_by_content_whatever_their_order():
    x = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(6, dtype=torch.int64)
    whole = Dataset("whole", "made", False, x, y, x, y, ("a", "b"))
    part = Dataset("part", "made", False, x[[4, 1]], y[:2], x, y, ("a", "b"))
    assert np.array_equal(review_examples.positions_of(part, whole), [1, 4])
    with pytest.raises(KeyError):
        review_examples.positions_of(Dataset("other", "made", False, 1 - x, y, x, y, ("a", "b")), whole)
