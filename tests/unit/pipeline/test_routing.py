"""Routing counts, once a message, which sinks want it."""

import pytest

from edgerouter.pipeline import routing as routing_module
from edgerouter.pipeline.routing import Routing
from edgerouter.topics import Matcher
from support.pipeline import messages


def test_each_sink_learns_how_many_messages_it_wants() -> None:
    routing = Routing({"all": Matcher(("#",)), "alerts": Matcher(("+/alert",)), "none": Matcher(("other",))})
    delivery = messages(3, topic="a/alert") + messages(2, topic="a/temperature")
    assert routing.wanted(delivery) == {"all": 5, "alerts": 3}


def test_topics_without_bound_do_not_grow_the_cache_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_module, "REMEMBERED_BYTES", 2000)
    looked_up: list[str] = []

    def wants(topic: str) -> bool:
        looked_up.append(topic)
        return True

    routing = Routing({"all": wants})
    delivery = [message for n in range(35) for message in messages(1, topic=f"t/{n}")]
    assert routing.wanted(delivery) == {"all": 35}
    looked_up.clear()
    assert routing.wanted(delivery[::-1]) == {"all": 35}
    assert 25 <= len(looked_up) < 35, "only the last few topics were remembered"
