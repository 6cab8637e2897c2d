"""One finding, the same for every subject: a name, a verdict, its evidence, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from edgerouter.masking import mask
from edgerouter.visible import visible

Verdict = Literal["ok", "warn", "fail", "unknown"]
"""`unknown`: it could not be measured; the evidence gives the reason."""

_LONGEST: Final = 1000
"""Characters of a text, which may quote a broker or a service."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one measurement."""

    subject: str
    """Subject of the measurement, as `--only` takes it."""
    name: str
    verdict: Verdict
    evidence: str
    """Measured values, or the reason why there is none."""
    change: str = ""
    """Advice to the operator; empty where nothing is to be changed."""


def finding(subject: str, name: str, verdict: Verdict, evidence: str, change: str = "") -> Finding:
    """Return a finding whose texts are masked, cut, and safe to show."""
    shown = [_shown(text) for text in (name, evidence, change)]
    return Finding(subject=subject, name=shown[0], verdict=verdict, evidence=shown[1], change=shown[2])


def has_failed(findings: Iterable[Finding]) -> bool:
    """Return True if a finding is a failure."""
    return any(found.verdict == "fail" for found in findings)


def _shown(text: str) -> str:
    masked = mask(" ".join(text.split()))
    return visible(masked if len(masked) <= _LONGEST else masked[:_LONGEST] + " ...")
