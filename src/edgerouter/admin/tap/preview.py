"""Shows messages that pass to an operator: cut, redacted, and without the secrets of this process."""

from __future__ import annotations

import base64
import codecs
from typing import Literal

import msgspec

from edgerouter.admin.tap.listener import (
    MARGIN,
    MOST_PROPERTIES,
    MOST_PROPERTY,
    MOST_REDACTED_BYTES,
    MOST_TOPIC,
    Sample,
)
from edgerouter.config.admin import TapConfig
from edgerouter.masking import MASK, mask
from edgerouter.masking.fields import FieldMask


class Tapped(msgspec.Struct, frozen=True, kw_only=True):
    """One message that passed."""

    at: float
    """Time of its reception: seconds since 1970-01-01 UTC."""
    id: str
    """Its id; empty at the intake, which shows messages of sources before they have one."""
    source: str
    """Name of the MQTT source that received it; empty where it came from elsewhere."""
    topic: str
    """Its topic, of which at most 1024 characters are shown."""
    payload: str
    """Beginning of its payload."""
    encoding: Literal["text", "base64", "none"]
    """`base64` for bytes that are not UTF-8; `none` where no payload is shown, for the reason `hidden`."""
    hidden: str
    """Reason for showing no payload; empty where it is shown."""
    size: int
    """Bytes of the whole payload."""
    cut: bool
    """The payload is longer than what is shown."""
    qos: int
    retained: bool
    user_properties: list[tuple[str, str]]
    """User properties, 16 at most."""
    user_properties_left_out: int
    """Number of the others."""


class Preview:
    """Shows samples as `admin.tap` allows.

    Args:
        config: bounds, and what is redacted.
    """

    def __init__(self, config: TapConfig) -> None:
        self._most = config.preview_bytes
        self._fields = FieldMask(config.redact.fields)

    def all(self, samples: list[Sample]) -> list[Tapped]:
        """Return what is shown of them; runs in a thread, because masking a payload may take milliseconds."""
        return [self.of(sample) for sample in samples]

    def of(self, sample: Sample) -> Tapped:
        """Return what is shown of one message."""
        message = sample.message
        payload, encoding, hidden, cut = self._payload(sample)
        return Tapped(
            at=message.received_at / 1e9,
            id=message.id if message.sequence else "",
            source=message.source,
            topic=_text(message.topic, MOST_TOPIC),
            payload=payload,
            encoding=encoding,
            hidden=hidden,
            size=sample.size,
            cut=cut,
            qos=message.qos,
            retained=message.retained,
            user_properties=[self._pair(name, text) for name, text in sample.properties[:MOST_PROPERTIES]],
            user_properties_left_out=sample.left_out,
        )

    def _pair(self, name: str, text: str) -> tuple[str, str]:
        return _text(name, MOST_PROPERTY), MASK if self._fields.hides(name) else _text(text, MOST_PROPERTY)

    def _payload(self, sample: Sample) -> tuple[str, Literal["text", "base64", "none"], str, bool]:
        if sample.hidden:
            return "", "none", "`admin.tap.redact.topics` hides it", False
        if self._fields and sample.size > MOST_REDACTED_BYTES:
            text = f"with `admin.tap.redact.fields`, only payloads of up to {MOST_REDACTED_BYTES} bytes are shown"
            return "", "none", text, False
        shown = self._fields.masked(sample.payload)
        if shown is None:
            return "", "none", "it holds a field of `admin.tap.redact.fields`, and is not a JSON document", False
        whole = len(sample.payload) == sample.size and len(shown) <= self._most + MARGIN
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(shown[: self._most + MARGIN], final=whole)
        except UnicodeDecodeError:
            return self._bytes(shown, sample.size)
        text = _plain(mask(text))
        beginning = text.encode()[: self._most].decode(errors="ignore")
        return beginning, "text", "", beginning != text or not whole

    def _bytes(self, shown: bytes, size: int) -> tuple[str, Literal["base64", "none"], str, bool]:
        text = shown[: self._most + MARGIN].decode("latin-1")
        if mask(text) != text:
            return "", "none", "it holds what looks like a secret", False
        return base64.b64encode(shown[: self._most]).decode(), "base64", "", size > self._most


def _text(text: str, most: int) -> str:
    masked = _plain(mask(text[: most + MARGIN]))
    return masked if len(masked) <= most else masked[:most] + "..."


def _plain(text: str) -> str:
    """Return the text without lone surrogates, which JSON in UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
