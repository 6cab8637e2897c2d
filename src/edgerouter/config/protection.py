"""Mask the secrets of the environment, of references, and of a configuration that no plugin has validated yet.

A valid model masks its own secrets: see `edgerouter.masking.models`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from edgerouter.config.tree import Node
from edgerouter.masking import never_secret, protect
from edgerouter.masking.parts import sounds_secret, url_parts

_PLACE: Final = re.compile(
    r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.[a-z]{2,10}(?::\d+)?|localhost(?::\d+)?|[\d.:]+|true|false", re.IGNORECASE
)
"""A host, an address, a number or a switch: it often comes from a variable, and hiding it would hide what an error is about."""
_WRITTEN_SECRETS: Final = re.compile(
    r"(pass(word|phrase)|secret|token|api_key|private_key|access_key|account_key|connection_string|credentials_json)$",
    re.IGNORECASE,
)
_REFERENCE: Final = re.compile(r"(?<!\$)\$\{[A-Za-z0-9._-]+:(?:(?!:-)[^}])*\}")
"""A reference that holds no default."""


def protect_environment(environ: Mapping[str, str]) -> None:
    """Mask what SDKs take out of the environment by themselves, such as `AWS_SECRET_ACCESS_KEY`."""
    protect(*(value for name, value in environ.items() if sounds_secret(name) and not value.startswith("/")))


def protect_reference(value: str) -> None:
    """Mask what a reference gave. Whatever field it fills, its author did not want it in the file."""
    if not _PLACE.fullmatch(value):
        protect(value)


def protect_written(tree: Node) -> None:
    """Mask what is recognised as secret before any plugin is asked, so that no problem of the configuration shows it."""
    found: list[str] = []
    for place, node in tree.walk():
        if not isinstance(node.value, str) or node.pending:
            continue
        if node.reference is not None:
            protect_reference(node.value)
        parents = [step for step in place if isinstance(step, str)]
        named = parents[-1] if parents else ""
        in_headers = len(parents) > 1 and parents[-2].lower().endswith("headers")
        secrets: list[str] = []
        if _WRITTEN_SECRETS.search(named) or (in_headers and sounds_secret(named)):
            secrets.append(node.value)
        if "://" in node.value or "@" in node.value:
            secrets += url_parts(node.value)
        for secret in secrets:
            found += [secret] if node.reference is not None else _around_references(secret)
    protect(*found)


def _around_references(text: str) -> list[str]:
    """Return what stands around the references of a secret; a missing file or variable is shown by its name."""
    references = _REFERENCE.findall(text)
    if references:
        never_secret(text, *references)
    return _REFERENCE.split(text)
