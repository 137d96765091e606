"""A notebook as a learner works on it in JupyterLab: write into cells, run them, press, slide, look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

APP = "window.jupyterapp"
NOTEBOOK = f"{APP}.shell.currentWidget.content"


class NotebookPage:
    """The notebook that a page of Chromium shows.

    Parameters
    ----------
    page : playwright.sync_api.Page
    pictures : Path
        Folder for screenshots.
    """

    def __init__(self, page: Any, pictures: Path) -> None:
        self.page, self.pictures = page, pictures

    def place(self, source: str) -> int:
        """Return the position of the first code cell that contains ``source``."""
        found = self.page.evaluate(
            f"""text => {NOTEBOOK}.widgets.findIndex(
                each => each.model.type === 'code' && each.model.sharedModel.source.includes(text))""",
            source,
        )
        assert found >= 0, f"no code cell holds {source!r}"
        return found

    def run(self, source: str) -> Any:
        """Run the cell that contains ``source`` and return it; the notebook scrolls to it."""
        place = self.place(source)
        self.page.evaluate(
            f"""async place => {{
                {NOTEBOOK}.activeCellIndex = place;
                await {NOTEBOOK}.scrollToItem(place, 'center');
                await {APP}.commands.execute('notebook:run-cell');
            }}""",
            place,
        )
        return self.cell(place)

    def run_to(self, source: str) -> Any:
        """Run all cells above the one that contains ``source``, then that one."""
        place = self.place(source)
        self.page.evaluate(
            f"""async place => {{
                {NOTEBOOK}.activeCellIndex = place;
                await {APP}.commands.execute('notebook:run-all-above');
            }}""",
            place,
        )
        return self.run(source)

    def cell(self, place: int) -> Any:
        """Return the cell at a position, scrolled to."""
        self.page.evaluate(f"async place => {{ await {NOTEBOOK}.scrollToItem(place, 'center') }}", place)
        return self.page.locator(f".jp-Cell[data-windowed-list-index='{place}']")

    def rewrite(self, source: str, line: str) -> None:
        """Put ``line`` in the place of the last line of the cell that contains ``source``."""
        self.page.evaluate(
            f"""([place, line]) => {{
                const model = {NOTEBOOK}.widgets[place].model.sharedModel;
                model.setSource([...model.source.trimEnd().split('\\n').slice(0, -1), line].join('\\n'));
            }}""",
            [self.place(source), line],
        )

    def prompt(self, place: int) -> int:
        """Return how often the kernel had run something when it ran the cell at ``place``."""
        return int(re.sub(r"\D", "", self.cell(place).locator(".jp-InputPrompt").text_content()) or 0)

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme and wait until it is drawn."""
        self.page.evaluate(
            f"async name => {{ await {APP}.commands.execute('apputils:change-theme', {{theme: name}}) }}",
            name,
        )
        light = "false" if "Dark" in name else "true"
        self.page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")

    def picture(self, name: str) -> None:
        """Keep what the page shows now."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(500)  # what was scrolled or changed is drawn
        self.page.screenshot(path=self.pictures / f"{name}.png")
