"""JupyterLab in a real browser: run lab 00 and read what its checks say; run lab 02 and move its sliders."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from labkit.course.labs import lab
from labkit.course.notebooks import build

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("LABKIT_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: set LABKIT_CHROMIUM to one")
TOKEN = "a-test-on-this-machine"
ALL_CELLS_RUN, ONE_MOVE = 180_000, 30_000  # milliseconds


@pytest.fixture
def server(tmp_path):
    """A JupyterLab of its own on the learner's copies of labs 00 and 02, as their sources make them; ends with the test."""
    for item in (lab("00"), lab("02")):
        _, copy = build.make(item, build.checkout())
        (tmp_path / f"{item.name}.ipynb").write_text(build.text(copy), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [
        f"--ServerApp.port={port}",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    own = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"), "LABKIT_PROFILE": "smoke"}
    own |= {
        "LABKIT_PROGRESS_FILE": str(tmp_path / "progress.json"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "set"),
    }
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(f"{address}/api", tmp_path / "server.log")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _wait(address: str, log: Path) -> None:
    for _ in range(120):
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def page(server):
    """A page of headless Chromium that knows the way to the server."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1400, "height": 1000}, base_url=server)
        browser.close()


def _run_all(page, name: str) -> None:
    """Open a notebook, run all its cells, and wait for the last; no cell may end in an error."""
    page.goto(f"/lab/tree/{name}?token={TOKEN}")
    # The menu says what runs only once the notebook is open and its kernel is ready.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    page.wait_for_function(_idle_after_running(), timeout=ALL_CELLS_RUN)
    assert not page.locator(".jp-OutputArea-output[data-mime-type*=error]").count()


def test_lab_00_runs_in_the_browser(page, tmp_path):
    _run_all(page, "00_start_here.ipynb")
    # The notebook draws only the cells near the screen, so an output is looked for by scrolling to it.
    assert "first_check" in _scroll_for(page, "Not attempted · 00.first_check").text_content()
    assert _scroll_for(page, "Where this lab runs").count()
    assert _scroll_for(page, "Your progress").count(), "the last cell has run: nothing stopped on the way"
    _scroll_for(page, "Not attempted · 00.first_check").scroll_into_view_if_needed()
    page.screenshot(path=os.environ.get("LABKIT_SCREENSHOT", str(tmp_path / "lab.png")))


def test_a_check_that_is_pressed_twice_stays_what_it_is(page, tmp_path):
    _run_all(page, "00_start_here.ipynb")
    press = 'check("00.first_check", accuracy)'
    for wanted in ("Not attempted", "Not attempted"):
        _scroll_for(page, "· 00.first_check")
        cell = page.locator(".jp-CodeCell", has_text=press).first
        before = cell.locator(".jp-InputPrompt").text_content()
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        prompt = cell.locator(".jp-InputPrompt")
        playwright.expect(prompt).not_to_have_text(before, timeout=ONE_MOVE)
        playwright.expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=ONE_MOVE)
        playwright.expect(cell.locator(".jp-OutputArea-output")).to_contain_text(wanted, timeout=ONE_MOVE)
    kept = json.loads((tmp_path / "progress.json").read_text(encoding="utf-8"))["exercises"]
    assert {entry["status"] for entry in kept.values()} == {"not attempted"}


def test_the_sliders_of_lab_02_answer(page):
    _run_all(page, "02_dp_sgd.ipynb")
    explorer = _scroll_for(page, "sample rate q")
    picture = explorer.locator("img")
    picture.wait_for(timeout=ONE_MOVE)
    before = picture.get_attribute("src")
    explorer.locator(".noUi-handle").first.press("ArrowRight")
    # One step right of Opacus's 1/250: the menu leaves its preset, and the picture is drawn anew.
    playwright.expect(explorer.locator("select")).to_have_value("your own", timeout=ONE_MOVE)
    playwright.expect(picture).not_to_have_attribute("src", before, timeout=ONE_MOVE)
    assert "rate 0.01," in picture.get_attribute("alt")


def _idle_after_running() -> str:
    """Return JavaScript that is true once every code cell has a number, and none is waiting."""
    return """() => {
      const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent);
      return prompts.length > 0 && prompts.every(text => /\\[\\d+\\]/.test(text));
    }"""


def _scroll_for(page, text: str):
    """Scroll through the notebook from its top until ``text`` is shown in an output; return where."""
    found = page.locator(".jp-OutputArea-output", has_text=text)
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0)")
    for _ in range(60):
        if found.count():
            return found.first
        page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollBy(0, 500)")
        page.wait_for_timeout(150)
    raise AssertionError(f"no output of the notebook shows {text!r}")
