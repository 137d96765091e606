"""Who finds identifiers in free text: patterns of labkit's own, or Presidio, offline and without a language model.

Names and addresses have no pattern, and neither finder looks for them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from labkit.governance.findings import ReviewError
from labkit.governance.notes import is_record_number

RECORD_NUMBER = r"(?<![\d-])\d{4}[ -]?\d{4}(?![\w-])"
PATTERNS: dict[str, str] = {
    "record number": RECORD_NUMBER,
    "phone": r"(?<![\d-])(?:\+1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\d-])",
    "e-mail": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "social security number": r"(?<![\w-])\d{3}([ -])\d{2}\1\d{4}(?![\w-])",
    "date": (
        r"(?<![\d/.-])(?:\d{1,2}/\d{1,2}/\d{4}|\d{4}-\d{2}-\d{2}|\d{1,2}\.\d{1,2}\.\d{4})(?![\d/-])"
        r"|\b(?:January|February|March|April|May|June|July|August|September|October|November|December) \d{1,2}(?:, \d{4})?\b"
    ),
}
# Presidio's names for our kinds; its other recognisers (bank accounts, passports, ...) are not asked.
PRESIDIO = {
    "MEDICAL_RECORD_NUMBER": "record number",
    "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "e-mail",
    "US_SSN": "social security number",
    "DATE_TIME": "date",
}


class NotInstalledError(ImportError):
    """A finder's library is missing; the message has the command."""


@dataclass(frozen=True)
class Span:
    """A piece of text that a finder takes for an identifier: where (end excluded), and of which kind."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Finder:
    """Something that finds identifiers.

    Attributes
    ----------
    name : str
        With version and settings.
    kinds : tuple of str
        What it can find at all.
    find : callable
        From a text to its spans.
    """

    name: str
    kinds: tuple[str, ...]
    find: Callable[[str], list[Span]] = field(repr=False, compare=False)


def patterns() -> Finder:
    """Return the finder made of `PATTERNS`; a record number's check digit has to be right."""
    compiled = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}

    def find(text: str) -> list[Span]:
        found = [
            Span(match.start(), match.end(), kind)
            for kind, pattern in compiled.items()
            for match in pattern.finditer(text)
            if kind != "record number" or _checks(match[0])
        ]
        return sorted(found, key=lambda span: (span.start, span.end))

    return Finder("patterns of labkit", tuple(PATTERNS), find)


def presidio(*, threshold: float = 0.0) -> Finder:
    """Return Presidio's analyzer as a finder: its pattern recognisers and one for record numbers, no language model.

    Parameters
    ----------
    threshold : float
        Least score of a span, 0 to 1; Presidio's default is 0, all it suspects.

    Raises
    ------
    NotInstalledError
        If ``presidio_analyzer`` cannot be imported.
    ReviewError
        If the threshold is no number from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise ReviewError(f"threshold is {threshold}; expected 0 to 1, such as 0.4")
    analyzer, version = _analyzer()

    def find(text: str) -> list[Span]:
        results = analyzer.analyze(text, "en", entities=list(PRESIDIO), score_threshold=threshold)
        return sorted(
            (Span(one.start, one.end, PRESIDIO[one.entity_type]) for one in results),
            key=lambda span: (span.start, span.end),
        )

    return Finder(f"Presidio {version}, no language model, threshold {threshold:g}", tuple(PATTERNS), find)


@cache
def _analyzer() -> tuple[Any, str]:
    """Return an ``AnalyzerEngine`` that loads no model and asks no network, and its version."""
    try:
        import tldextract
        from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError as error:
        raise NotInstalledError(
            'Presidio is not installed: pip install "labkit[bridges]", or presidio-analyzer and presidio-anonymizer; '
            "labkit.governance.finders.patterns() needs nothing else"
        ) from error
    from importlib.metadata import version

    # Its recogniser of e-mails would fetch the list of public suffixes from the web: take the one that came along.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())

    class RecordNumbers(PatternRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return _checks(pattern_text)

    engine = NlpEngineProvider(
        nlp_configuration={
            "nlp_engine_name": "no_op",
            "models": [{"lang_code": "en", "model_name": "none"}],
        }
    ).create_engine()
    registry = RecognizerRegistry()
    # It would warn of each recogniser for another language than the one that is asked for.
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    registry.add_recognizer(
        RecordNumbers(
            supported_entity="MEDICAL_RECORD_NUMBER", patterns=[Pattern("eight digits", RECORD_NUMBER, 0.4)]
        )
    )
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    return analyzer, version("presidio-analyzer")


def _checks(written: str) -> bool:
    return is_record_number(re.sub(r"\D", "", written))
