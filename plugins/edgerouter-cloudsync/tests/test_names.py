"""A request's topic within the router names its broker."""

from __future__ import annotations

import pytest

from edgerouter_cloudsync.names import is_host, routed, taken_apart


@pytest.mark.parametrize("host", ["a", "broker.example", "10.0.0.1", "::1", "[fe80::1]", "my_broker-1"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert is_host(host)
    assert taken_apart(routed(host, "a/b")) == (host, "a/b")


@pytest.mark.parametrize("host", ["", "a:1883", "tcp://a", "a b", "-a", "a/b", "a\n", "x" * 300, "é"])
def test_other_texts_are_refused(host: str) -> None:
    assert not is_host(host)


@pytest.mark.parametrize("topic", ["a", "$cloudsync", "$cloudsync/a", "$cloudsync//b", "$cloudsync/a/", "x/a/b"])
def test_topics_of_another_form_name_no_broker(topic: str) -> None:
    assert taken_apart(topic) is None
