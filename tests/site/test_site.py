"""The folder that `labkit site` writes: pages whose links lead somewhere, nothing fetched, nothing of others lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from labkit import cli
from labkit.course import labs as course
from labkit.site import SiteError, anchors, documents, labs, making, pages, reports


def index_of(site: Path) -> list[list[str]]:
    text = (site / "assets/search-index.js").read_text(encoding="utf-8")
    return json.loads(re.fullmatch(r"window\.labkitIndex = (.*);\n", text, re.DOTALL)[1])


def test_it_has_a_page_for_each_kind_of_thing(site: Path) -> None:
    wanted = "index labs/index labs/02_dp_sgd api/index api/labkit.dp reports/index benchmarks changelog data"
    for name in wanted.split():
        assert (site / f"{name}.html").is_file(), name


def test_every_link_leads_somewhere_and_nothing_is_fetched(site: Path) -> None:
    making.check(site)


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ('<a href="gone.html">x</a>', "links to gone.html"),
        ('<a href="#nowhere">x</a>', "links to #nowhere"),
        ('<a href="other.html#nowhere">x</a>', "links to other.html#nowhere"),
        ('<img src="https://example.org/x.png">', "from the web"),
    ],
)
def test_a_link_to_nowhere_or_a_fetch_is_refused(tmp_path: Path, page: str, says: str) -> None:
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    (tmp_path / "other.html").write_text('<h1 id="here">x</h1><a href="index.html">x</a>', encoding="utf-8")
    with pytest.raises(SiteError, match=re.escape(says)):
        making.check(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    assert cli.main(["site", "--out", str(tmp_path)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_older_site_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = pages.Page("index.html", "Start", "Start", "<h1>labkit</h1>")
    monkeypatch.setattr(making, "all_pages", lambda root, found: [page])
    monkeypatch.setattr(making.reports, "files", lambda root: [])
    out = tmp_path / "out"
    making.make_site(out)
    (out / "old.html").write_text("of the last version", encoding="utf-8")
    assert making.make_site(out) == out / "index.html"
    assert not (out / "old.html").exists()


def test_search_knows_names_headings_and_reports_and_leads_to_them(site: Path) -> None:
    rows = index_of(site)
    titles = {row[0] for row in rows}
    assert {"dp.train_private", "dp.PrivateResult.plot", "results.Result", "Review of a model"} <= titles
    assert any(kind == "Lab 02" for _, kind, _, _ in rows)
    for _, _, target, _ in rows:
        place, _, fragment = target.partition("#")
        text = (site / place).read_text(encoding="utf-8")
        assert not fragment or f'id="{fragment}"' in text.replace("&quot;", '"').replace("&#x27;", "'")


def test_the_front_page_is_the_readme_and_shows_the_ways(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "make lab" in anchors.words(text)
    for target in ("labs/index.html", "api/index.html", "reports/index.html", "benchmarks.html"):
        assert f'href="{target}"' in text


def test_addresses_of_the_repository_become_those_of_the_site_or_plain_words() -> None:
    body = (
        '<a href="../data/README.md#files">data</a> <a href="setup.cfg">no page</a> <a href="https://x.org">out</a>'
        '<img alt="" src="figures/02.png">'
    )
    places = {"data/README.md": "data.html", "solutions/figures/02.png": "figures/02.png"}
    moved = documents.at_home(body, source="solutions/X.md", path="more/x.html", places=places)
    assert '<a href="../data.html#files">data</a>' in moved
    assert "no page" in moved
    assert "setup.cfg" not in moved
    assert '<a href="https://x.org">out</a>' in moved
    assert 'src="../figures/02.png"' in moved


def test_a_heading_of_a_lab_is_found_by_the_address_that_jupyter_gives_it() -> None:
    places = {"notebooks/03_utility.ipynb": "labs/03_utility.html"}
    body = '<a href="03_utility.ipynb#Exercise-03.paired:-is-one-better?">there</a>'
    moved = documents.at_home(body, source="notebooks/14.ipynb", path="labs/14.html", places=places)
    assert f'href="03_utility.html#{anchors.slug("Exercise 03.paired: is one better?")}"' in moved


def test_every_picture_of_the_repository_has_a_place_on_the_site(tmp_path: Path) -> None:
    folder = tmp_path / "solutions/figures"
    folder.mkdir(parents=True)
    for name in ("02.png", "learner.gif", "notes.txt"):
        (folder / name).touch()
    shown = {name: place for name, place in documents.atlas(tmp_path).items() if "figures" in name}
    assert shown == {f"solutions/figures/{name}": f"figures/{name}" for name in ("02.png", "learner.gif")}


def lab_page(*cells: nbformat.NotebookNode) -> str:
    item = course.LABS[0]
    return labs._lab(item, nbformat.v4.new_notebook(cells=list(cells)), {}).body


def test_a_lab_that_was_not_executed_says_so() -> None:
    head, code = nbformat.v4.new_markdown_cell("# A lab\n\nFirst words."), nbformat.v4.new_code_cell("1 + 1")
    assert "Not executed." in lab_page(head, code)
    code.execution_count = 1
    assert "Not executed." not in lab_page(head, code)


def test_a_lab_shows_no_marks_of_nbgrader_and_folds_what_it_hides() -> None:
    head = nbformat.v4.new_markdown_cell("# A lab\n\nFirst words.")
    shown = nbformat.v4.new_code_cell("def f():\n    ### BEGIN SOLUTION\n    return 7\n    ### END SOLUTION")
    hidden = nbformat.v4.new_code_cell("draw()", metadata={"jupyter": {"source_hidden": True}})
    text = lab_page(head, shown, hidden)
    assert "SOLUTION" not in text
    assert anchors.words(text).count("Code") == 1
    assert re.search(r'<details class="source"><summary>Code</summary>.*draw', text, re.DOTALL)


def test_formulas_are_drawn_without_a_script() -> None:
    text = lab_page(nbformat.v4.new_markdown_cell("# A lab\n\nNoise $\\sigma^2$ and\n\n$$\\frac{a}{b}$$"))
    assert text.count("<math") == 2
    assert "MathJax" not in text


def test_a_damaged_notebook_names_its_fix(tmp_path: Path) -> None:
    (tmp_path / "03_utility.ipynb").write_text("{}", encoding="utf-8")
    with pytest.raises(SiteError, match="labkit build 03 --execute"):
        labs._read(tmp_path / "03_utility.ipynb")


def test_reports_are_handed_over_as_they_are_and_refused_if_they_fetch(site: Path, tmp_path: Path) -> None:
    assert "Approved with conditions." in (site / "reports/model.html").read_text(encoding="utf-8")
    assert "Review of a model" in (site / "reports/index.html").read_text(encoding="utf-8")
    bad = tmp_path / "bad.html"
    bad.write_text('<link rel="stylesheet" href="https://cdn.example.org/x.css">', encoding="utf-8")
    with pytest.raises(SiteError, match=r"bad\.html"):
        reports.overview([bad])


def test_headings_of_one_name_have_addresses_of_their_own() -> None:
    body = anchors.anchored("<h2>Data</h2><h2>Data</h2><h3>ε, δ & more!</h3>")
    assert [name for _, name, _ in anchors.headings(body)] == ["data", "data-1", "ε-δ--more"]
