"""Sign a report and check it again: the record of the review stands inside each page, and holds the page's own digest.

The record is an `labkit.evidence.Evidence`: what was submitted, what came of each check, the decision, and the SHA-256 of
both pages without the record. One changed byte, in the text or in the record, is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cache import atomic_path
from labkit.evidence import Evidence, Signer, TamperError
from labkit.governance import html_page, markdown_page
from labkit.governance.document import blocks
from labkit.governance.findings import ReviewError

if TYPE_CHECKING:
    from labkit.governance.reviewing import Review

PAGES = {".html": html_page, ".md": markdown_page}
BLOCKS = {
    ".html": re.compile(
        r'(?<=<script type="application/json" id="record">).*(?=</script>\n</body></html>\n\Z)', re.DOTALL
    ),
    ".md": re.compile(r"(?<=<!-- record\n).*(?=\n-->\n\Z)", re.DOTALL),
}


def write(review: Review, path: Path, *, reviewer: str, signer: Signer | None) -> tuple[Path, Path]:
    """Write both pages, signed: see `Review.report`."""
    key = signer or Signer.new()
    who = reviewer if signer else f"{reviewer} (a key made for this report: it does not show who signed)"
    parts = blocks(review, who, key.public)
    digests = {ending: _sha(made.page(review, parts, "")) for ending, made in PAGES.items()}
    record = _record(review, digests, reviewer, key)
    base = path.with_suffix("") if path.suffix in PAGES else path
    written = []
    for ending, made in PAGES.items():
        place = base.with_name(base.name + ending)
        with atomic_path(place) as temporary:
            temporary.write_text(made.page(review, parts, record), encoding="utf-8")
        written.append(place)
    return written[0], written[1]


def _record(review: Review, digests: dict[str, str], reviewer: str, key: Signer) -> str:
    numbers = review.numbers()
    checks, decision = numbers.pop("checks"), numbers.pop("decision")
    case = _sha(json.dumps([numbers, checks, decision], sort_keys=True))[:16]
    record = Evidence(case, f"Review: {review.title}")
    record = record.add(reviewer, "submission", numbers, key)
    record = record.add(reviewer, "checks", {"checks": checks}, key)
    record = record.add(reviewer, "decision", decision, key)
    record = record.add(
        reviewer, "report", {f"sha256 of {ending}": value for ending, value in digests.items()}, key
    )
    return _text(record.close(reviewer, key))


def _text(record: Evidence) -> str:
    return json.dumps(record.numbers(), ensure_ascii=True, allow_nan=False)


def verify_report(path: str | Path, public: str) -> Evidence:
    """Return the record of a report, if page and record are what the holder of a key signed.

    Parameters
    ----------
    path : str or Path
        The HTML or the Markdown page.
    public : str
        The reviewer's public key, from elsewhere than the page.

    Raises
    ------
    ReviewError
        If the file is no report.
    TamperError
        If the page or its record was changed, or somebody else signed.
    """
    path = Path(path)
    if path.suffix not in BLOCKS:
        raise ReviewError(f"{path.name}: expected a report, .html or .md")
    text = path.read_bytes().decode("utf-8")
    found = BLOCKS[path.suffix].search(text)
    if not found:
        raise ReviewError(f"{path.name} holds no record of a review where a report has it")
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "record.json"
        held.write_text(found.group(0), encoding="utf-8")
        record = Evidence.load(held)
    record.verify({entry.actor: public for entry in record.entries})
    if found.group(0) != PAGES[path.suffix].held(_text(record)):
        raise TamperError(f"{path.name}: the record is written otherwise than it was signed")
    stated = next((one.content for one in record.entries if one.action == "report"), {})
    if stated.get(f"sha256 of {path.suffix}") != _sha(BLOCKS[path.suffix].sub("", text)):
        raise TamperError(f"{path.name} shows other text than what was signed")
    return record


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
