"""Recognises credentials by shape alone: SDKs create signatures and tokens that the router never sees."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = (
    r"x-amz-signature|x-amz-security-token|x-goog-signature|sig|signature|access[_-]?token|refresh[_-]?token|id[_-]?token|auth[_-]?token"
    r"|session[_-]?token|security[_-]?token|client[_-]?secret|client[_-]?assertion|assertion|api[_-]?key|x-api-key|account[_-]?key"
    r"|secret[_-]?access[_-]?key|shared-?access-?key|sharedaccesssignature|passwd|password|pwd|secret|token"
)
_REFERENCE: Final = r"\$\{[\w.-]+:(?:(?!:-)[^}\s])+\}(?::\s|$)"
"""The missing file or variable that an error of the configuration names, without a default."""
_SHAPES: Final = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # headers, as a service or an SDK prints them
        (
            rf"(?P<keep>\b(?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)(?!{_REFERENCE})"
            r"(?:[\w-]+ )?[^\s'\",;]{4,}(?:,\s*[\w-]+=[^\s'\"]+)*"
        ),
        r"(?P<keep>\b(?:bearer|basic|sharedaccesssignature)\s+)(?=[^\s]*[0-9])[A-Za-z0-9+/=._~%&-]{8,}",
        # queries of URLs, and connection strings
        rf"(?P<keep>(?<![\w-])(?:{_NAMES})=)(?!\*\*\*)[^\s&;,'\"<>]{{4,}}",
        # documents that hold them as values
        rf"(?P<keep>['\"](?:{_NAMES})['\"]\s*:\s*['\"])(?!\*\*\*)[^'\"]{{4,}}",
        r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/?#@:]*:)[^\s/@]+(?=@)",
        r"(?P<keep>)\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
        r"(?P<keep>)\bya29\.[\w-]{16,}",
        r"(?P<keep>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|$)",
    )
)
_HINT: Final = re.compile(r"[=@]|://|eyJ|ya29|-----|authorization|bearer |basic |signature |['\"]\s*:", re.IGNORECASE)


def mask_shapes(text: str, mask: str) -> str:
    """Return the text with the mask in place of everything that looks like a credential."""
    if _HINT.search(text) is None:
        return text
    for shape in _SHAPES:
        text = shape.sub(lambda match: match["keep"] + mask, text)
    return text
