"""A bearer token has one owner, and a form that headers can carry."""

import pytest
from aiohttp.test_utils import make_mocked_request

from edgerouter.http_server.tokens import TokenOwners, bearer_token, check_token

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("header", "owner"),
    [
        (f"Bearer {TOKEN}", "ops"),
        (f"bearer  {TOKEN} ", "ops"),
        (f"Basic {TOKEN}", None),
        ("Bearer", None),
        ("Bearer 0123456789abcdeF", None),
        (TOKEN, None),
        ("", None),
    ],
)
def test_only_a_bearer_token_that_is_known_has_an_owner(header: str, owner: str | None) -> None:
    owners = TokenOwners([(TOKEN, "ops"), ("fedcba9876543210", "grafana")])

    assert owners.owner(make_mocked_request("GET", "/", headers={"Authorization": header})) == owner


def test_a_request_without_the_header_carries_no_token() -> None:
    assert bearer_token(make_mocked_request("GET", "/")) is None


@pytest.mark.parametrize("token", ["0123456789", "0123456789 abcdef", "0123456789abcdef\n", "0123456789abcdé"])
def test_a_token_that_is_short_or_does_not_fit_a_header_is_refused_without_being_quoted(token: str) -> None:
    with pytest.raises(ValueError, match="`token` should") as raised:
        check_token(token)

    assert token not in str(raised.value)
