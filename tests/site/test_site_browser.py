"""The site in a real browser, opened from a folder: themes, contrast, keyboard, search, width, and no request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contrast import TOO_FAINT

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("LABKIT_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: set LABKIT_CHROMIUM to one")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 180_000  # milliseconds: a machine that does much else is no failure
PAGES = ("index.html", "labs/02_dp_sgd.html", "api/labkit.dp.html", "api/index.html", "benchmarks.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, site: Path) -> Iterator[Any]:
    """Open a page of the site in a window of its own; at the end nothing was asked of the web, and nothing failed."""
    wrong: list[str] = []
    contexts = []

    def opened(path: str, *, theme: str = "light", width: int = 1300) -> Any:
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
            )
        )
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url),
        )
        page.on("requestfailed", lambda asked: wrong.append(f"failed: {asked.url}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto((site / path).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def follow(page: Any, name: str) -> None:
    """Follow a link of the page's head and wait for the page it leads to: a click alone returns before that is loaded."""
    with page.expect_navigation():
        page.get_by_role("navigation", name="Sections").get_by_role("link", name=name).click()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(open_page: Any, site: Path, theme: str) -> None:
    page = open_page("index.html", theme=theme)
    for path in PAGES:
        page.goto((site / path).as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.evaluate(TOO_FAINT, "body") == [], path
    page.evaluate("document.querySelector('p').style.color = '#888'")  # 3.5 on white, 5 on black
    assert bool(page.evaluate(TOO_FAINT, "body")) == (theme == "light"), "a faint text is seen"


def test_no_page_scrolls_sideways_at_900_pixels(open_page: Any, site: Path) -> None:
    page = open_page("index.html", width=900)
    for path in PAGES:
        page.goto((site / path).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 900, path


def test_the_keyboard_alone_finds_a_name_and_opens_it(open_page: Any) -> None:
    page = open_page("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("train_private")
    page.locator("#found a").first.wait_for()
    assert "place" in page.locator("#found [role=status]").text_content()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.firstChild.data") == "dp.train_private"
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/api/labkit.dp.html#train_private")
    assert page.locator("h2#train_private").is_visible()


def test_search_finds_prose_says_when_there_is_nothing_and_closes(open_page: Any) -> None:
    page = open_page("labs/02_dp_sgd.html")
    query = page.locator("#query")
    query.fill("poisson batch")
    page.locator("#found small", has_text="Lab 02").first.wait_for()
    query.fill("zzqqxx")
    playwright.expect(page.locator("#found [role=status]")).to_contain_text("Nothing found", timeout=PATIENCE)
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()


def test_a_chosen_theme_holds_on_the_next_page(open_page: Any) -> None:
    page = open_page("index.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark theme").press("Enter")
    dark = page.evaluate(ground)
    assert dark != "rgb(255, 255, 255)"
    follow(page, "Labs")
    assert page.evaluate(ground) == dark
    assert page.get_by_role("button", name="Light theme").is_visible()


def test_without_its_script_a_page_is_read_and_its_links_work(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert not page.locator("#query").is_visible()
    follow(page, "API")
    assert page.get_by_role("heading", level=1).text_content() == "API reference"
    context.close()
