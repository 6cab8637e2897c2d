"""The step `edgex_event`: take an event out of the envelope of EdgeX's message bus."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Final

import msgspec

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.step import StepConfig
from edgerouter.steps import cbor
from edgerouter.steps.document_step import DocumentStep
from edgerouter.steps.paths import kind_of

_PAYLOADS: Final = {"payload": "contentType", "Payload": "ContentType"}
"""Members of the envelope, since EdgeX 2 and before: the payload, and its content type."""
_CBOR: Final = "application/cbor"
_decode: Final = msgspec.json.Decoder().decode


class EdgexEventConfig(StepConfig):
    """Takes EdgeX's event out of its envelope and its request, as its application services do; a bare event stays as it is.

    The payload of the envelope is JSON, as in EdgeX 4, or base64 of JSON; or base64 of CBOR, which EdgeX uses for binary readings:
    their values become base64, as in its JSON. A bare event or request may be CBOR too.
    """


class EdgexEventStep(DocumentStep[EdgexEventConfig]):
    """Leaves the event alone: a JSON object with a list of readings."""

    def apply(self, items: list[Item]) -> list[Item]:
        out = []
        for item in items:
            try:
                bare = not item.changed and cbor.is_map(item.message.payload)
                document = cbor.decode(item.message.payload) if bare else item.document
                event = self.change(document)
            except BadInput as error:
                if self.context.refuse(item, error):
                    out.append(item)
                continue
            if bare or event is not document:
                item.becomes(event)
            out.append(item)
        return out

    def change(self, document: Any) -> Any:
        event = document
        for name, kind in _PAYLOADS.items():
            if event.__class__ is dict and name in event:
                event = _content(event[name], event.get(kind))
        if event.__class__ is dict and "event" in event:
            event = event["event"]
        if event.__class__ is not dict:
            raise BadInput("wrong type", f"an event is an object, not {kind_of(event)}")
        if event.get("readings").__class__ is not list:
            raise BadInput("missing field", "an event has a list `readings`")
        return event


def _content(payload: Any, content_type: Any) -> Any:
    if payload.__class__ is not str:
        return payload
    try:
        content = b64decode(payload, validate=True)
        return cbor.decode(content) if content_type == _CBOR else _decode(content)
    except binascii.Error:
        raise BadInput("wrong type", "the envelope's payload is neither an object nor base64") from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadInput("not JSON", f"the envelope's payload: {error}"[:200]) from None
