"""Links in labs: written by the build, to places that are there."""

import itertools
import re
from urllib.parse import unquote

import nbformat
import pytest

from labkit import cache
from labkit.course.labs import LABS, lab
from labkit.course.notebooks import build, links, page, source

ROOT = cache.checkout()
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def linked(text: str, code: str = "", number: str = "02") -> str:
    """Return the first cell of a lab with this text, after its links were added."""
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
    last = nbformat.v4.new_markdown_cell("## 3. What it costs")
    last.id = "cost"
    book = nbformat.v4.new_notebook(cells=[*cells, last])
    links.link(lab(number), book)
    return book.cells[0].source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see lab 05 first", "see [lab 05](05_red_team.ipynb) first"),
        ("lab\n05", "[lab\n05](05_red_team.ipynb)"),
        (
            "Labs 05 (attacks, see 2020), 07 and 10 help",
            "[Labs 05](05_red_team.ipynb) (attacks, see 2020), [07](07_watermark.ipynb) and "
            "[10](10_secure_aggregation.ipynb) help",
        ),
        ("in section 3.", "in [section 3](02_dp_sgd.ipynb#cell-id=cost)."),
        ("Section 8 of lab 01 applies", "[Section 8 of lab 01](01_differential_privacy.ipynb) applies"),
        ("(arXiv 1607.00133)", "([arXiv 1607.00133](https://arxiv.org/abs/1607.00133))"),
        (
            "arXiv 2403.17673, 2411.04205",
            "[arXiv 2403.17673](https://arxiv.org/abs/2403.17673), [2411.04205](https://arxiv.org/abs/2411.04205)",
        ),
    ],
)
def test_what_is_named_in_plain_words_becomes_a_link(text, expected):
    assert linked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "this lab 02 itself",
        "section 9, which is not there",
        "Bonawitz et al., section 3.3",
        "`lab 05`",
        "```python\nlab 05\n```",
        "## 1. As in lab 05",
        "[lab 05](https://example.org)",
        "a loss of 0.12345 at 1234.5 patients",
        "`dp.privacy_statement` without its import",
    ],
)
def test_nothing_else_does(text):
    assert linked(text) == text


def test_a_name_of_the_kit_leads_to_the_file_that_documents_it():
    code = "from labkit import dp, stats as s\nfrom labkit.dp.training import textbook\nimport numpy as np"
    text = linked(
        "`dp.privacy_statement`, `textbook.clip_per_sample()`, `np.clip`, `dp.nothing`, `s`, `dp`", code
    )
    places = LINK.findall(text)
    assert places == [
        "../labkit/dp/accounting/statement.py#privacy_statement",
        "../labkit/dp/training/textbook.py#clip_per_sample",
    ]
    assert all((ROOT / "notebooks" / place.partition("#")[0]).is_file() for place in places)


def test_each_lab_ends_with_the_way_to_the_next():
    for here, there in itertools.pairwise(LABS):
        assert f"]({there.name}.ipynb)" in links.onward(here)
    assert "00_start_here.ipynb" in links.onward(LABS[-1])


def test_every_link_of_every_lab_leads_somewhere():
    for item in LABS:
        solved = source.solution(item, build.places(item, ROOT).source.read_text(encoding="utf-8"))
        copy = source.learner(solved)
        ids = {cell.id for cell in copy.cells}
        text = "\n\n".join(cell.source for cell in copy.cells if cell.cell_type == "markdown")
        text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for place in LINK.findall(text):
            file, _, part = unquote(place).partition("#")
            if file.startswith("https://"):
                continue
            assert file, f"{item.number}: {place}: JupyterLab follows a link within a lab only with its file"
            assert (ROOT / "notebooks" / file).is_file(), f"{item.number}: {place}"
            if file == f"{item.name}.ipynb":
                assert part.removeprefix("cell-id=") in ids, f"{item.number}: {place}"
            elif file.endswith(".py"):
                home = (ROOT / "notebooks" / file).read_text(encoding="utf-8")
                assert re.search(rf"^(?:class|def) {part}\b", home, re.MULTILINE), f"{item.number}: {place}"


def test_a_copy_that_leaves_the_checkout_has_no_links_into_it(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_guard", lambda path: None)
    item = lab("02")
    solved = source.solution(item, build.places(item, ROOT).source.read_text(encoding="utf-8"))
    assert any("](../labkit/" in cell.source for cell in solved.cells)
    build._classroom({item: solved}, tmp_path, force=False)
    for file in tmp_path.rglob("*.ipynb"):
        text = file.read_text(encoding="utf-8")
        assert "](../" not in text
        assert "`dp.check_loader`" in text
    assert any("](../labkit/" in cell.source for cell in solved.cells), "the checkout's own keeps them"


def test_a_page_for_itself_links_its_own_sections_and_the_web_alone():
    item = lab("02")
    solved = source.solution(item, build.places(item, ROOT).source.read_text(encoding="utf-8"))
    made = page.page(solved, item.title)
    for place in re.findall(r'<a [^>]*?href="([^"]*)"', made):
        assert place.startswith("https://") or f'id="{place.removeprefix("#")}"' in made, place
    assert 'href="#cell-id=' in made
    assert "<code>dp.check_loader</code>" in made
