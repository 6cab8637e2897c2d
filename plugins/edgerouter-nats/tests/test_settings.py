"""Settings of a connection: what is refused, and where credentials may stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_nats.settings import NatsSettings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("central", "nats://central:4222"),
        ("central:4333", "nats://central:4333"),
        ("nats://central", "nats://central:4222"),
        ("tls://central:4222/", "tls://central:4222"),
        ("nats://[::1]:4222", "nats://[::1]:4222"),
    ],
)
def test_a_server_may_be_written_short(given: str, expected: str) -> None:
    assert NatsSettings(servers=(given,)).servers == (expected,)


@pytest.mark.parametrize("url", ["mqtt://central", "nats://", "nats://central:x", "nats://central:70000", "nats://central/stream"])
def test_an_address_that_is_not_a_server_is_refused_with_the_form(url: str) -> None:
    with pytest.raises(ValidationError, match=r"servers|nats://host:4222"):
        NatsSettings(servers=(url,))


def test_credentials_in_the_urls_become_those_of_the_settings_and_are_shown_nowhere() -> None:
    settings = NatsSettings(servers=("nats://box:se%40cret@a", "nats://box:se%40cret@b"))
    assert settings.username == "box"
    assert settings.password is not None
    assert settings.password.get_secret_value() == "se@cret"
    assert "se@cret" not in repr(settings)
    assert settings.hosts == "a:4222, b:4222"


def test_a_url_with_one_word_before_the_host_holds_a_token() -> None:
    settings = NatsSettings(servers=("nats://t0ken@a",))
    assert settings.token is not None
    assert settings.token.get_secret_value() == "t0ken"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"servers": ["nats://a:b@x", "nats://c:d@y"]}, "different credentials"),
        ({"servers": ["nats://a:b@x"], "token": "t"}, "write them once"),
        ({"servers": ["x"], "username": "a"}, "`username` needs `password`"),
        ({"servers": ["x"], "password": "secret-of-a-test"}, "`password` needs `username`"),
        ({"servers": ["x"], "token": "t", "nkey_seed": "SUAA"}, "exclude each other"),
        ({"servers": ["x"], "nkey_seed": "UABC"}, "begins with SU"),
        ({"servers": ["x"], "creds_file": "/nowhere"}, "no such file"),
        ({"servers": []}, "at least 1"),
        ({"servers": ["x"], "domain": "a.b"}, "domain"),
        ({"servers": ["x"], "inbox_prefix": "a b"}, "inbox_prefix"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NatsSettings(**fields)
    assert reason in str(caught.value)
    assert "secret-of-a-test" not in str(caught.value)


def test_tls_is_wanted_where_any_field_says_so(tmp_path: Path) -> None:
    assert not NatsSettings(servers=("a",)).wants_tls
    assert NatsSettings(servers=("tls://a",)).wants_tls
    assert NatsSettings.model_validate({"servers": ["a"], "tls": {}}).wants_tls
    assert NatsSettings(servers=("a",), tls_handshake_first=True).wants_tls
