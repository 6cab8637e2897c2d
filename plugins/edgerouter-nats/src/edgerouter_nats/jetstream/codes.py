"""The table of what a stream answers to a publish."""

from __future__ import annotations

from typing import Final

import msgspec

from edgerouter import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter_nats.errors import shown

_BY_CODE: Final[dict[int, tuple[type[Unavailable | Rejected], str]]] = {
    # https://github.com/nats-io/nats-server/blob/main/server/errors.json
    10002: (Throttled, "raise the account's limits, or delete messages"),
    10008: (Unavailable, ""),
    10009: (Unavailable, ""),
    10023: (Throttled, "the server has no room"),
    10028: (Throttled, "the server has no memory left for JetStream"),
    10039: (Unauthorized, "enable JetStream for this account"),
    10047: (Throttled, "the server has no disk left for JetStream"),
    10054: (Rejected, "max_msg_size of the stream"),
    10060: (Unauthorized, "another stream than `stream` takes the subject"),
    10076: (Unauthorized, "enable JetStream in the server"),
    10077: (Throttled, "raise the stream's limits, let its consumers catch up, or let it discard old messages"),
    10097: (Rejected, ""),
    10109: (Unauthorized, "the stream is sealed"),
    10158: (Unavailable, ""),
    10167: (Throttled, ""),
}
"""By `err_code`, with the cure. A full stream takes the message later, so it is never `Rejected`."""


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class Answer(msgspec.Struct):
    """Answer of a stream: the place of the message, or the reason why it has none."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_decode = msgspec.json.Decoder(Answer).decode


def read(payload: bytes) -> Answer | None:
    """Return an answer; `None` if it is not one of JetStream."""
    try:
        answer = _decode(payload)
    except msgspec.MsgspecError:
        return None
    return answer if answer.error is not None or answer.stream else None


def refusal(answer: Answer) -> Unavailable | Rejected:
    """Return the error of an answer that has one."""
    error = answer.error or _Error()
    text = f"{shown(error.description) or 'no reason'} ({error.err_code})"
    known = _BY_CODE.get(error.err_code)
    if known is not None:
        kind, cure = known
        return kind(f"{text}: {cure}" if cure else text)
    # an operator must look at what is not known here; a message that no retry mends would be rejected by a documented code
    return Unauthorized(text) if 400 <= error.code < 500 else Unavailable(text)
