"""Signatures are those of botocore, for every request, time and kind of credentials."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerouter_aws.signing import Signer

SECONDS = st.integers(0, 4_000_000_000)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
KEYS = st.builds(ReadOnlyCredentials, WORDS, st.text(min_size=1, max_size=40), st.none() | WORDS)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
HEADERS = st.dictionaries(WORDS.map("x-".__add__), VALUES, max_size=4).filter(lambda them: not any("amz" in name for name in them))
URLS = st.builds(
    "{}://{}.example{}/{}".format,
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True),
    st.sampled_from(["", ":80", ":443", ":9324"]),
    st.sampled_from(["", "a/b", "a//../b", "%7Eq", "with space", "ö"]),
)


def of_botocore(url: str, headers: dict[str, str], body: bytes, credentials: Any, seconds: int) -> dict[str, str]:
    request = AWSRequest("POST", url, headers, body)
    with patch("botocore.auth.get_current_datetime", return_value=datetime.fromtimestamp(seconds, UTC)):
        SigV4Auth(credentials, "sqs", "eu-west-1").add_auth(request)
    return dict(request.headers.items())


@given(url=URLS, headers=HEADERS, bodies=st.lists(st.tuples(st.binary(max_size=40), KEYS, SECONDS), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_each_request_is_signed_as_botocore_signs_it(
    url: str, headers: dict[str, str], bodies: list[tuple[bytes, Any, int]]
) -> None:
    """In any order of times and credentials, as what they share is kept between requests."""
    signer = Signer(url, headers, region="eu-west-1", service="sqs")
    for body, credentials, seconds in bodies:
        expected = of_botocore(url, headers, body, credentials, seconds)
        assert headers | signer.sign(body, credentials, seconds) == expected


@pytest.mark.parametrize("again", ["another day", "another key", "another token"])
def test_a_kept_key_is_used_for_its_day_and_credentials_only(again: str) -> None:
    signer = Signer("https://sqs.eu-west-1.amazonaws.com/", {}, region="eu-west-1", service="sqs")
    first = ReadOnlyCredentials("AKIA1", "secret", "token")
    signer.sign(b"{}", first, 0)
    credentials = {"another key": first._replace(secret_key="other"), "another token": first._replace(token="other")}.get(
        again, first
    )
    seconds = 86_400 if again == "another day" else 0
    expected = of_botocore("https://sqs.eu-west-1.amazonaws.com/", {}, b"{}", credentials, seconds)
    assert signer.sign(b"{}", credentials, seconds) == expected
