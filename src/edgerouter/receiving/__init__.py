"""Building blocks for plugins that receive from a service: a bounded inbox, leases with acknowledgement, topics and properties."""

from __future__ import annotations

from edgerouter.receiving.inbox import Inbox
from edgerouter.receiving.leases import Leased, LeaseService
from edgerouter.receiving.properties import received_properties
from edgerouter.receiving.receiver import LeaseReceiver, backoff
from edgerouter.receiving.topic import ReceivedTopic, TopicSource, TopicTemplate

__all__ = [
    "Inbox",
    "LeaseReceiver",
    "LeaseService",
    "Leased",
    "ReceivedTopic",
    "TopicSource",
    "TopicTemplate",
    "backoff",
    "received_properties",
]
