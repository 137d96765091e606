"""JupyterLab on learners' copies and a headless Chromium: one of each for all tests, a page for each file's labs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.course.labs import lab
from labkit.course.notebooks import build

CHROMIUM = os.environ.get("LABKIT_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
LABS = ("00", "02", "14")
TOKEN = "a-test-on-this-machine"
PATIENCE = 180_000  # milliseconds: a machine that does much else is no failure
# Pictures of what a learner sees, to be looked at; ignored by git.
SCREENSHOTS = Path(os.environ.get("LABKIT_SCREENSHOTS") or Path(__file__).parent / "screenshots")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learner's folder with copies of the labs as their sources make them."""
    made = tmp_path_factory.mktemp("learner")
    for item in map(lab, LABS):
        _, copy = build.make(item, build.checkout())
        (made / f"{item.name}.ipynb").write_text(build.text(copy), encoding="utf-8")
    return made


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[str]:
    """A JupyterLab of its own, as ``make lab`` starts it; ends with the tests."""
    from serving import served

    with served(folder, TOKEN, LABKIT_PROFILE="smoke") as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; without one, or without Playwright, these tests are skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        missing = pytest.fail if os.environ.get("LABKIT_BROWSER") == "required" else pytest.skip
        missing("no Chromium here: install one, or set LABKIT_CHROMIUM to one")
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def opened(browser, server) -> Iterator[Callable]:
    """Open a lab in a page of its own, and wait for its kernel; closed with the file's last test."""
    from notebook_page import NotebookPage

    contexts = []

    def of(number: str, *, width: int = 1400) -> NotebookPage:
        context = browser.new_context(viewport={"width": width, "height": 1000}, base_url=server)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        place = f"{lab(number).name}.ipynb"
        page.goto(f"/lab/tree/{place}?reset&token={TOKEN}")  # not the tabs of the test before
        page.wait_for_function(
            "place => window.jupyterapp?.shell.currentWidget?.context?.path === place", arg=place
        )
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        return NotebookPage(page, SCREENSHOTS)

    yield of
    for context in contexts:
        context.close()
