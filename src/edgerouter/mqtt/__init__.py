"""MQTT: one publisher for the `mqtt` sink and the clouds that speak it, and what the source beneath shares with it.

The public names are loaded when they are first used: the MQTT client costs 60 ms, and commands that connect to nothing need none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgerouter.mqtt.incoming import Connection, Incoming
    from edgerouter.mqtt.last_will import LastWill
    from edgerouter.mqtt.link import Link, Policy
    from edgerouter.mqtt.login import Login, MakeLogin
    from edgerouter.mqtt.publications import UNTRIED, Answer, Publication, Result, Untried
    from edgerouter.mqtt.publisher import Publisher
    from edgerouter.mqtt.results import outcome
    from edgerouter.mqtt.settings import BrokerSettings
    from edgerouter.mqtt.subscriber import Arrived, Subscriber
    from edgerouter.mqtt.texts import check_topic, message_properties

_HOMES = {
    "UNTRIED": "publications",
    "Answer": "publications",
    "Arrived": "subscriber",
    "BrokerSettings": "settings",
    "Connection": "incoming",
    "Incoming": "incoming",
    "LastWill": "last_will",
    "Link": "link",
    "Login": "login",
    "MakeLogin": "login",
    "Policy": "link",
    "Publication": "publications",
    "Publisher": "publisher",
    "Result": "publications",
    "Subscriber": "subscriber",
    "Untried": "publications",
    "check_topic": "texts",
    "message_properties": "texts",
    "outcome": "results",
}

__all__ = [
    "UNTRIED",
    "Answer",
    "Arrived",
    "BrokerSettings",
    "Connection",
    "Incoming",
    "LastWill",
    "Link",
    "Login",
    "MakeLogin",
    "Policy",
    "Publication",
    "Publisher",
    "Result",
    "Subscriber",
    "Untried",
    "check_topic",
    "message_properties",
    "outcome",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
