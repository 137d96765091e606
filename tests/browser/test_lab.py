"""JupyterLab in a real browser: what a learner does in labs 00, 02 and 14, seen; each picture is kept to be looked at."""

from __future__ import annotations

import json

import pytest
from contrast import TOO_FAINT

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PATIENCE = 180_000  # milliseconds: a machine that does much else is no failure
CHECK, STUB = 'check("00.first_check", accuracy)', "def accuracy("
WRONG = "    return float((predicted == labels).sum())"
RIGHT = "    return float((predicted == labels).float().mean())"
# Code that is cut off at the right: the notebook draws only the cells near the screen, so it is scrolled through.
CUT_OFF = """async () => {
  const outer = document.querySelector('.jp-WindowedPanel-outer'), cut = new Set();
  for (let top = 0; top < outer.scrollHeight; top += 600) {
    outer.scrollTo(0, top);
    await new Promise(done => setTimeout(done, 120));
    for (const code of document.querySelectorAll('.jp-CodeCell .cm-scroller'))
      if (code.scrollWidth > code.clientWidth + 2) cut.add(code.textContent.slice(0, 60));
  }
  return [...cut];
}"""


def expect(where):
    return playwright.expect(where)


@pytest.fixture(scope="module")
def lab_00(opened):
    """Lab 00, run up to its first exercise."""
    lab = opened("00")
    lab.run_to(CHECK)
    return lab


def press(lab, says: str):
    """Run the first check once more; return what it shows once that contains ``says``."""
    before = lab.prompt(lab.place(CHECK))
    shown = lab.run(CHECK).locator(".jp-OutputArea-output")
    expect(shown).to_contain_text(says, timeout=PATIENCE)
    assert lab.prompt(lab.place(CHECK)) > before
    return shown


def test_an_exercise_untouched_wrong_right_and_each_pressed_twice(lab_00, folder):
    for _ in range(2):
        press(lab_00, "Not attempted")
    lab_00.picture("00-untouched")
    lab_00.rewrite(STUB, WRONG)
    lab_00.run(STUB)
    for _ in range(2):
        shown = press(lab_00, "Not yet")
        assert "Likely cause" in shown.text_content()
    lab_00.picture("00-wrong")
    lab_00.rewrite(STUB, RIGHT)
    lab_00.run(STUB)
    for _ in range(2):
        press(lab_00, "Passed")
    lab_00.picture("00-right")
    kept = json.loads((folder.parent / "progress.json").read_text(encoding="utf-8"))["exercises"]
    assert kept["00.first_check"]["status"] == "passed"


def test_a_guess_is_kept_by_the_enter_key_and_told_beside_the_result(lab_00):
    box = lab_00.run('"00.table",')
    field = box.locator("input[type=text]")
    field.fill("50")
    field.press("Enter")
    expect(box.get_by_role("status")).to_contain_text("50", timeout=PATIENCE)
    lab_00.picture("00-guess")
    lab_00.run('table = data.load("breast_cancer")')
    result = lab_00.run('revealed("00.table"')
    expect(result).to_contain_text("50%", timeout=PATIENCE)
    lab_00.picture("00-guess-told")


def test_in_the_dark_theme_every_output_can_be_read(lab_00):
    lab_00.theme("JupyterLab Dark")
    try:
        for source, name in (
            (CHECK, "check"),
            ("doctor.report()", "doctor"),
            ("drawings.exercise_loop", "drawing"),
        ):
            lab_00.cell(lab_00.place(source))
            lab_00.picture(f"00-dark-{name}")
            assert lab_00.page.evaluate(TOO_FAINT, ".jp-OutputArea-output, .jp-RenderedMarkdown") == []
    finally:
        lab_00.theme("JupyterLab Light")


def test_no_code_is_cut_off_at_900_pixels(lab_00):
    page = lab_00.page
    page.set_viewport_size({"width": 900, "height": 1000})
    try:
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        lab_00.picture("00-900-pixels")
        assert page.evaluate(CUT_OFF) == []
    finally:
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.set_viewport_size({"width": 1400, "height": 1000})


def test_the_link_to_lab_02_opens_it_and_its_slider_answers(lab_00):
    page = lab_00.page
    lab_00.page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0)")
    place = page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(
            each => each.model.sharedModel.source.includes('(02_dp_sgd.ipynb)'))"""
    )
    lab_00.cell(place).get_by_role("link", name="lab 02").first.click()
    page.wait_for_function(
        """() => { const now = window.jupyterapp.shell.currentWidget;
                   return now.context.path.includes('02_dp_sgd')
                     && now.sessionContext.session?.kernel?.status === 'idle'; }"""
    )
    lab_00.run("from labkit import")
    explorer = lab_00.run("widgets.epsilon_explorer()")
    picture = explorer.locator("img")
    picture.wait_for()
    before = picture.get_attribute("src")
    explorer.locator(".noUi-handle").first.press("ArrowRight")
    # One step right of Opacus's 1/250: the menu leaves its preset, and the picture is drawn anew.
    expect(explorer.locator("select")).to_have_value("your own", timeout=PATIENCE)
    expect(picture).not_to_have_attribute("src", before, timeout=PATIENCE)
    assert "rate 0.01," in picture.get_attribute("alt")
    lab_00.picture("02-slider")


def test_the_drill_is_answered_by_keyboard(opened):
    lab = opened("14")
    lab.run("from labkit.course import")
    panel = lab.run("panel = interview.start()")
    reveal = panel.get_by_role("button", name="Show the answer")
    reveal.wait_for()
    lab.picture("14-question")
    reveal.focus()
    lab.page.keyboard.press("Space")
    expect(panel.get_by_text("You took")).to_be_visible(timeout=PATIENCE)
    lab.picture("14-answer")
    keep = panel.get_by_role("button", name="Keep the score, next")
    keep.press("Space")
    expect(panel.get_by_role("button", name="Score first")).to_be_visible(timeout=PATIENCE)
    for signal in ("framing", "depth", "evidence", "communication"):
        row = panel.locator(".widget-toggle-buttons", has_text=signal)
        row.get_by_role("button", name="2", exact=True).press("Space")
    panel.get_by_role("button", name="Score first").press("Space")
    expect(panel.get_by_role("status").first).to_contain_text("Kept.", timeout=PATIENCE)
    lab.picture("14-next")
    lab.theme("JupyterLab Dark")
    reveal.press("Space")
    expect(panel.get_by_text("You took")).to_be_visible(timeout=PATIENCE)
    lab.picture("14-dark")
    assert lab.page.evaluate(TOO_FAINT, ".jp-OutputArea-output .widget-html-content") == []


def test_the_cheat_sheet_prints_on_two_pages(browser, tmp_path):
    from labkit.course.interview import cheat_sheet

    sheet = tmp_path / "formulas.html"
    sheet.write_text(cheat_sheet.page(), encoding="utf-8")
    page = browser.new_page()
    page.goto(sheet.as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    page.close()
    assert printed.count(b"/Type /Page\n") == 2
