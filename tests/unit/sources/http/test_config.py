"""A configuration that would let strangers write is refused, and names the fields that protect it."""

from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from edgerouter.sources.http.config import HttpSourceConfig
from support.http_source import serving

TOKEN = "0123456789abcdef"
TOKENS = {"device": {"token": TOKEN}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"listen": "0.0.0.0:8090"}, "`tokens`, or `tls.client_ca`"),
        ({"listen": "[::]:8090"}, "`anonymous: true`"),
        ({"listen": "8090"}, "HOST:PORT"),
        ({"tokens": {"a": {"token": "short"}}}, "at least 16 characters"),
        ({"tokens": {"a": {"token": "0123456789 abcdef"}}}, "without blanks"),
        ({"tokens": {"a": {"token": TOKEN}, "b": {"token": TOKEN}}}, "a token twice"),
        ({"topics": ["$share/g/a"]}, "without $share"),
        ({"topics": []}, "at least 1"),
        ({"path": "topics"}, "such as /topics"),
        ({"topic_prefix": "a/#"}, "wildcards"),
        ({"user_properties": ["not a name"]}, "X-Device"),
        ({"max_body_bytes": "64MiB"}, "more than `max_unacknowledged_bytes`"),
    ],
)
def test_what_cannot_be_used_says_why(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HttpSourceConfig.model_validate(config)
    assert words in str(refused.value)
    assert "short" not in str(refused.value).replace("too_short", "")


@pytest.mark.parametrize(
    "config", [{}, {"listen": "localhost:0"}, {"listen": "0.0.0.0:1", "tokens": TOKENS}, {"listen": "[::]:1", "anonymous": True}]
)
def test_this_machine_is_served_without_a_token_and_others_as_configured(config: dict[str, Any]) -> None:
    assert TOKEN not in repr(HttpSourceConfig.model_validate(config))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"tokens": TOKENS}, ["the token of clients is sent over the network in plain text: use `tls`, and https://"]),
        ({"anonymous": True}, ["`anonymous` lets every device of the network write"]),
    ],
)
async def test_a_weak_point_of_a_source_for_the_network_is_logged(config: dict[str, Any], words: list[str]) -> None:
    with capture_logs() as logs:
        async with serving(host="0.0.0.0", **config):
            pass
    assert [line["event"] for line in logs] == words
