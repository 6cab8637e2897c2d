"""Encodings in which services quote a text."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus


def encodings(text: str) -> Iterator[tuple[str, str]]:
    """Yield every encoding of a text, with its name."""
    data = text.encode()
    yield "as it is", text
    yield "upper case", text.upper()
    yield "lower case", text.lower()
    yield "JSON", json.dumps(text)
    yield "JSON in UTF-8", json.dumps(text, ensure_ascii=False)
    yield "JSON in JSON", json.dumps(json.dumps(text))
    yield "JSON of PHP", json.dumps(text).replace("/", "\\/")
    yield "JSON of Go", json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003E")
    yield "JSON escapes only", "".join(f"\\u{ord(character):04x}" for character in text)
    yield "repr", repr(text)
    yield "repr of bytes", repr(data)
    for name, escape in (("URL", quote), ("form", quote_plus)):
        yield name, escape(text, safe="")
        yield f"{name} with slashes", escape(text, safe="/")
        yield f"{name} in lower case", escape(text, safe="").lower()
        yield f"{name} twice", quote(escape(text, safe=""), safe="")
    yield "HTML", html.escape(text)
    yield "HTML, decimal", "".join(f"&#{ord(character)};" for character in text)
    yield "HTML, hexadecimal", "".join(f"&#x{ord(character):04X};" for character in text)
    yield "hex", data.hex()
    yield "hex in upper case", data.hex().upper()
    yield "hex with colons", data.hex(":")
    yield "hex behind a digit", "a" + data.hex()
    for before in (b"", b"u:", b"us:"):
        encoded = base64.b64encode(before + data + b", and more").decode()
        yield f"base64 behind {len(before)}", encoded
        yield f"base64 without padding behind {len(before)}", encoded.rstrip("=")
        yield f"base64 for URLs behind {len(before)}", base64.urlsafe_b64encode(before + data).decode()
        yield f"base64 in a URL behind {len(before)}", quote(encoded, safe="")
        yield f"base64 cut off behind {len(before)}", encoded[5:]
        yield f"base64 in a path behind {len(before)}", f"/{encoded}"
