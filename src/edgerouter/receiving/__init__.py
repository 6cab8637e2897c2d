"""Building blocks for plugins that receive from a service: a bounded inbox, leases with acknowledgement, and topics."""

from __future__ import annotations

from edgerouter.receiving.inbox import Inbox
from edgerouter.receiving.leases import Leased, LeaseService
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
]
