"""Properties of a received message, from the attributes that a service carries beside it."""

from __future__ import annotations

from collections.abc import Mapping

from edgerouter.message import Properties

_NONE = Properties()


def received_properties(
    attributes: Mapping[str, str], user: tuple[tuple[str, str], ...], correlation_data: bytes | None
) -> Properties | None:
    """Return the properties of a message; `None` when it has none.

    Args:
        attributes: may hold `content_type` and `response_topic`, as the sinks name them.
        user: user properties, with their own names.
        correlation_data: as bytes, since services differ in how they carry them.
    """
    properties = Properties(
        user=user,
        content_type=attributes.get("content_type"),
        response_topic=attributes.get("response_topic"),
        correlation_data=correlation_data,
    )
    return properties if properties != _NONE else None
