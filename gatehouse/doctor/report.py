"""The result on the screen, as text or as JSON, without a token in it."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from gatehouse.doctor.finding import Level, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatehouse.doctor.finding import Finding

WIDTH = 100
INDENT = " " * 9


def printable(text: str) -> str:
    """A text that moves no cursor: a server may have sent it."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def as_text(subject: str, findings: Sequence[Finding]) -> str:
    """The worst first; those that are fine last."""
    lines = [subject, ""]
    for finding in sorted(findings, key=lambda finding: -finding.level):
        word = "" if finding.word == "ok" else f" [{finding.word}]"
        seen = printable(f"{finding.check}: {finding.seen}{word}")
        lines += textwrap.wrap(
            seen,
            WIDTH,
            initial_indent=f"{finding.level.word:<9}",
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if finding.remedy:
            lines += textwrap.wrap(
                f"-> {finding.remedy}",
                WIDTH,
                initial_indent=INDENT,
                subsequent_indent=INDENT + "   ",
            )
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """How many of each level there are."""
    counts = Counter(finding.level for finding in findings)
    return ", ".join(
        f"{counts[level]} {level.word}{'s' if counts[level] != 1 and level else ''}"
        for level in sorted(Level, reverse=True)
    )


def as_json(subject: str, findings: Sequence[Finding]) -> str:
    """The same for programs."""
    listed = [
        {
            "check": finding.check,
            "level": finding.level.word,
            "word": finding.word,
            "seen": finding.seen,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]
    whole = {"subject": subject, "worst": worst(findings).word, "findings": listed}
    return json.dumps(whole, indent=2)
