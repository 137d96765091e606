"""Make the README's moving picture: a check that names the likely cause, then passes, in JupyterLab as it is.

``python tests/browser/learner_moment.py`` writes ``solutions/figures/learner.gif``. Nothing is staged: the learner's copy of
lab 00, a real kernel, real checks. It needs Playwright and a Chromium (``LABKIT_CHROMIUM`` names one).
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from serving import served

from labkit.course.labs import lab
from labkit.course.notebooks import build

PICTURE = Path("solutions/figures/learner.gif")
WIDTH, HEIGHT = 880, 520  # pixels: little wider than a README is shown
ABOVE = 52  # pixels of text kept above the stub
COMMON = "return float((predicted == labels)."
WRONG, RIGHT = COMMON + "sum())", COMMON + "float().mean())"
CHECK = 'check("00.first_check", accuracy)'
TOKEN = "a-picture-on-this-machine"
PATIENCE = 180_000  # milliseconds


@contextmanager
def opened(folder: Path) -> Iterator[str]:
    """Serve a copy of lab 00 from below ``folder``, and give the notebook's address."""
    item = lab("00")
    _, copy = build.make(item, build.checkout())
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / f"{item.name}.ipynb").write_text(build.text(copy), encoding="utf-8")
    with served(folder / "notebooks", TOKEN) as address:
        yield f"{address}/doc/tree/{item.name}.ipynb?token={TOKEN}"


class Film:
    """Pictures of the notebook with how long each stays, in milliseconds."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pictures: list[Image.Image] = []
        self.stays: list[int] = []

    def take(self, stays: int) -> None:
        """Add what the notebook shows now."""
        png = self.page.locator(".jp-WindowedPanel-outer").screenshot()
        self.pictures.append(Image.open(io.BytesIO(png)).convert("RGB"))
        self.stays.append(stays)

    def save(self, path: Path) -> None:
        """Write all of it as one GIF that repeats, in one palette so that nothing flickers."""
        width, height = self.pictures[0].size
        sheet = Image.new("RGB", (width, height * len(self.pictures)))
        for place, each in enumerate(self.pictures):
            sheet.paste(each, (0, height * place))
        palette = sheet.quantize(128, dither=Image.Dither.NONE)
        first, *rest = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in self.pictures]
        first.save(path, save_all=True, append_images=rest, duration=self.stays, loop=0, optimize=True)


def film(page: Page, address: str) -> Film:
    """Work on the first exercise of lab 00 as a learner might, and film it."""
    page.goto(address)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=PATIENCE)
    app = "window.jupyterapp"
    notebook = f"{app}.shell.currentWidget.content"
    stub, check = (
        page.evaluate(
            f"text => {notebook}.widgets.findIndex(c => c.model.sharedModel.source.includes(text))", text
        )
        for text in ("def accuracy(", CHECK)
    )
    page.evaluate(f"n => {{ {notebook}.activeCellIndex = n }}", stub - 1)
    page.evaluate(f"{app}.commands.execute('notebook:run-all-above')")
    page.wait_for_function(
        f"() => {notebook}.widgets[5].model.executionCount !== undefined", timeout=PATIENCE
    )
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=PATIENCE)
    page.evaluate(f"n => {notebook}.scrollToItem(n, 'center')", stub)
    page.wait_for_timeout(1000)
    page.evaluate(
        f"""n => {{
          const outer = document.querySelector('.jp-WindowedPanel-outer');
          const cell = {notebook}.widgets[n].node.getBoundingClientRect();
          outer.scrollBy(0, cell.top - outer.getBoundingClientRect().top - {ABOVE});
        }}""",
        stub,
    )
    page.wait_for_timeout(1000)
    made = Film(page)

    def source(answer: str) -> None:
        page.evaluate(
            f"""([n, answer]) => {{
              const model = {notebook}.widgets[n].model.sharedModel;
              const kept = model.source.split('\\n').slice(0, -1);
              model.setSource([...kept, '    ' + answer].join('\\n'));
            }}""",
            [stub, answer],
        )

    def typed(answer: str, already: int = 0) -> None:
        for end in range(already, len(answer) + 1, 6):
            source(answer[:end])
            made.take(120)
        source(answer)
        made.take(600)

    def run(says: str) -> None:
        for place in (stub, check):
            page.evaluate(f"n => {{ {notebook}.activeCellIndex = n }}", place)
            page.evaluate(f"{app}.commands.execute('notebook:run-cell')")
        shown = page.locator(".jp-CodeCell", has_text=CHECK).first.locator(".jp-OutputArea-output")
        expect(shown).to_contain_text(says, timeout=PATIENCE)
        page.wait_for_timeout(500)

    made.take(1500)
    typed(WRONG)
    run("Likely cause")
    made.take(4500)
    typed(RIGHT, already=len(COMMON))
    run("Passed")
    made.take(4500)
    return made


def main() -> None:
    """Film, and write the picture into the checkout."""
    chromium = os.environ.get("LABKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder)) as address,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT + 100})
        path = build.checkout() / PICTURE
        film(page, address).save(path)
        browser.close()
    print(f"{path.relative_to(build.checkout())}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
