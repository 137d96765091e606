"""JupyterLab on learners' copies and a headless Chromium: one of each for all tests, a page for each file's labs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"]
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "LABKIT_PROGRESS_FILE": "progress.json",
    }
    environment = {name: str(folder.parent / place) for name, place in own.items()}
    environment |= {
        "LABKIT_PROFILE": "smoke",
        "JUPYTER_CONFIG_PATH": str(build.checkout() / ".ci/self-paced"),
    }
    log = folder.parent / "server.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [*command, f"--IdentityProvider.token={TOKEN}"],
            cwd=folder,
            env=os.environ | environment,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/api", log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(address: str, log: Path) -> None:
    for _ in range(360):
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


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
        page.goto(f"/lab/tree/{lab(number).name}.ipynb?token={TOKEN}")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        return NotebookPage(page, SCREENSHOTS)

    yield of
    for context in contexts:
        context.close()
