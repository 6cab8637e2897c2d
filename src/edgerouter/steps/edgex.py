"""The step `edgex_event`: take an event out of the envelope of EdgeX's message bus."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Final

import msgspec

from edgerouter.errors import BadInput
from edgerouter.step import StepConfig
from edgerouter.steps.document_step import DocumentStep
from edgerouter.steps.paths import kind_of

_PAYLOADS: Final = ("payload", "Payload")
"""Members of the envelope, since EdgeX 2 and before."""
_decode: Final = msgspec.json.Decoder().decode


class EdgexEventConfig(StepConfig):
    """Takes EdgeX's event out of its envelope and its request, as its application services do; a bare event stays as it is.

    The payload of the envelope is JSON, as in EdgeX 4, or base64 of JSON. CBOR, which EdgeX uses for binary readings, counts as
    `not JSON`.
    """


class EdgexEventStep(DocumentStep[EdgexEventConfig]):
    """Leaves the event alone: a JSON object with a list of readings."""

    def change(self, document: Any) -> Any:
        event = document
        for name in _PAYLOADS:
            if event.__class__ is dict and name in event:
                event = _content(event[name])
        if event.__class__ is dict and "event" in event:
            event = event["event"]
        if event.__class__ is not dict:
            raise BadInput("wrong type", f"an event is an object, not {kind_of(event)}")
        if event.get("readings").__class__ is not list:
            raise BadInput("missing field", "an event has a list `readings`")
        return event


def _content(payload: Any) -> Any:
    if payload.__class__ is not str:
        return payload
    try:
        return _decode(b64decode(payload, validate=True))
    except binascii.Error:
        raise BadInput("wrong type", "the envelope's payload is neither an object nor base64") from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadInput("not JSON", f"the envelope's payload: {error}"[:200]) from None
