"""The doctor's findings as the page shows them: problems first, then passed checks."""

from __future__ import annotations

from ..doctor.diagnosis import Diagnosis, Finding
from ..units import format_bytes, format_count
from . import page_texts as texts

View = dict[str, object]


def diagnosis_view(found: Diagnosis) -> View:
    """The verdict, and the findings by what they ask of the reader."""
    fails = [finding for finding in found.findings if finding.level == "fails"]
    notes = [finding for finding in found.findings if finding.level == "note"]
    right = [finding for finding in found.findings if finding.level == "ok"]
    verdict = texts.DIAGNOSIS_GOOD if found.is_streamable else texts.DIAGNOSIS_BAD
    return {
        "title": verdict.format(url=found.url),
        "cost": texts.DIAGNOSIS_COST.format(
            requests=format_count(found.requests, "request"),
            bytes=format_bytes(found.bytes_downloaded),
        ),
        "findings": [_plain(finding) for finding in (*fails, *notes)],
        "right": [_plain(finding) for finding in right],
        "rightTitle": texts.DIAGNOSIS_RIGHT.format(count=len(right)),
        "remedyTitle": texts.DIAGNOSIS_REMEDY,
    }


def _plain(finding: Finding) -> View:
    return {
        "code": finding.code,
        "level": finding.level,
        "spoken": texts.LEVELS[finding.level],
        "what": finding.what,
        "meaning": finding.meaning,
        "remedy": [
            {"server": texts.SERVERS.get(server, server), "line": line}
            for server, line in finding.remedy.items()
        ],
    }
