"""Building blocks for plugins that receive from a service: a bounded inbox, leases with acknowledgement, topics and properties."""

from __future__ import annotations

from edgerouter.receiving.inbox import Inbox
from edgerouter.receiving.leases import Leased, LeaseService
from edgerouter.receiving.problems import Problems
from edgerouter.receiving.properties import received_properties
from edgerouter.receiving.source import LeaseConfig, LeaseSource, ReceivingConfig
from edgerouter.receiving.subscription import Subscription, Topics
from edgerouter.receiving.topic import ReceivedTopic, TopicSource

__all__ = [
    "Inbox",
    "LeaseConfig",
    "LeaseService",
    "LeaseSource",
    "Leased",
    "Problems",
    "ReceivedTopic",
    "ReceivingConfig",
    "Subscription",
    "TopicSource",
    "Topics",
    "received_properties",
]
