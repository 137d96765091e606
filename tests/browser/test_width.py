"""Nothing of any lab is cut off at the right, and all of it can be read in the dark theme: executed and learner's copies.

JupyterLab draws the notebooks of the checkout with the outputs they carry, without a kernel. 900 pixels are a small
window, and what 150% leaves of a screen of 1,350 pixels; the list of files is closed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from contrast import TOO_FAINT

from labkit.course.labs import LABS, lab
from labkit.course.notebooks import build

KINDS = ("solutions", "notebooks")
TOKEN = "a-width-on-this-machine"
PATIENCE = 180_000  # milliseconds: a machine that does much else is no failure
APP = "window.jupyterapp"
# No kernel is started for looking, and every cell is drawn, not only those near the screen.
OPEN = f"""async path => {{
  await {APP}.restored;
  if (!{APP}.shell.leftCollapsed) await {APP}.commands.execute('application:toggle-left-area');
  const kernelPreference = {{shouldStart: false, canStart: false, autoStartDefault: false}};
  const opened = await {APP}.commands.execute(
    'docmanager:open', {{path, factory: 'Notebook', kernelPreference}});
  await opened.context.ready;
  await opened.revealed;
}}"""
DRAWN = f"""() => {{
  const now = {APP}.shell.currentWidget;
  const code = [...now.node.querySelectorAll('.jp-CodeCell')];
  return code.length > 0 && code.every(cell => cell.querySelector('.cm-content, .jp-InputPlaceholder'))
    && [...now.node.querySelectorAll('img')].every(img => img.complete);
}}"""
# What hides or scrolls a part of itself, or reaches beyond the notebook; hints and answers are opened first.
CUT_OFF = f"""() => {{
  const notebook = {APP}.shell.currentWidget.node, cut = [];
  for (const each of notebook.querySelectorAll('details')) each.open = true;
  const right = notebook.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect().right;
  for (const [place, cell] of notebook.querySelectorAll('.jp-Cell').entries())
    for (const each of cell.querySelectorAll('*')) {{
      if (!each.getClientRects().length || each.closest('mjx-assistive-mml')) continue;
      if (each.closest('.cm-editor') && !each.matches('.cm-scroller')) continue;  // an editor scrolls as one
      const hides = getComputedStyle(each).overflowX !== 'visible' && each.clientWidth > 0;
      const over = Math.max(hides ? each.scrollWidth - each.clientWidth : 0,
                            each.matches('img, table, pre') ? each.getBoundingClientRect().right - right : 0);
      if (over > 2) cut.push(`cell ${{place}}: ${{each.tagName}} by ${{Math.round(over)}} px: `
                             + each.textContent.trim().slice(0, 40));
    }}
  return cut;
}}"""
# Code within text is coloured by JupyterLab's own theme.
READ = ".jp-OutputArea-output, .jp-RenderedMarkdown :is(p, li, table, summary, h1, h2, h3)"


@pytest.fixture(scope="module")
def shelf(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A page of 900 pixels on copies of all the checkout's notebooks."""
    from serving import served

    folder = tmp_path_factory.mktemp("width") / "labs"
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for item in LABS:
            name = f"{item.name}.ipynb"
            shutil.copyfile(build.checkout() / kind / name, folder / kind / name)
    drawing = folder.parent / "settings" / "@jupyterlab" / "notebook-extension"
    drawing.mkdir(parents=True)
    (drawing / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with served(folder, TOKEN) as address:
        page = browser.new_page(viewport={"width": 900, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/lab?reset&token={TOKEN}")
        page.wait_for_function(f"() => {APP}?.shell")
        yield page
        page.close()


def opened(page, number: str, kind: str) -> None:
    """Open a lab's copy in the page, and wait until all of it is drawn."""
    path = f"{kind}/{lab(number).name}.ipynb"
    page.evaluate(OPEN, path)
    page.wait_for_function(f"path => {APP}.shell.currentWidget?.context?.path === path", arg=path)
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(1000)  # formulas are set after the text


def theme(page, name: str) -> None:
    page.evaluate(
        f"name => {APP}.commands.execute('apputils:change-theme', {{theme: name}})", f"JupyterLab {name}"
    )
    light = "false" if name == "Dark" else "true"
    page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")
    page.wait_for_timeout(500)


def copies() -> Iterator:
    """Give lab and kind of every copy."""
    for item in LABS:
        for kind in KINDS:
            yield pytest.param(item.number, kind, id=f"{item.name}-{kind}")


@pytest.mark.parametrize(("number", "kind"), copies())
def test_no_part_of_a_lab_is_cut_off_at_900_pixels_or_faint_in_the_dark(shelf, number, kind):
    opened(shelf, number, kind)
    try:
        assert shelf.evaluate(CUT_OFF) == []
        theme(shelf, "Dark")
        assert shelf.evaluate(TOO_FAINT, READ) == []
    finally:
        theme(shelf, "Light")
        shelf.evaluate(f"{APP}.commands.execute('application:close-all')")
