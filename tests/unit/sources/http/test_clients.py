"""A token identifies a client, and filters decide what it may write to; an unprotected source serves no browser."""

import pytest

from support.http_source import serving

TOKENS = {"line1": {"token": "0123456789abcdef", "topics": ["plant/line1/#"]}, "all": {"token": "fedcba9876543210"}}


@pytest.mark.parametrize(
    ("authorization", "topic", "status"),
    [
        ("Bearer 0123456789abcdef", "plant/line1/a", 202),
        ("bearer  0123456789abcdef ", "plant/line1/a", 202),
        ("Bearer 0123456789abcdef", "plant/line2/a", 403),
        ("Bearer fedcba9876543210", "plant/line2/a", 202),
        ("Bearer fedcba9876543210", "office/a", 403),
        ("Bearer 0123456789abcde", "plant/line1/a", 401),
        ("Bearer ", "plant/line1/a", 401),
        ("Basic 0123456789abcdef", "plant/line1/a", 401),
        ("0123456789abcdef", "plant/line1/a", 401),
    ],
)
async def test_each_token_writes_where_it_may(authorization: str, topic: str, status: int) -> None:
    async with serving(tokens=TOKENS, topics=["plant/#"]) as web:
        answer = await web.ask(f"/topics/{topic}", Authorization=authorization)
    assert answer.status == status
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_request_without_a_token_learns_how_to_send_one() -> None:
    async with serving(tokens=TOKENS) as web:
        answer = await web.ask("/topics/a")
    assert answer.status == 401
    assert "Authorization" in answer.detail


async def test_topics_of_the_broker_itself_are_closed_unless_a_filter_names_them() -> None:
    async with serving() as web:
        assert (await web.ask("/topics/$SYS/a")).status == 403
    async with serving(topics=["$SYS/#"]) as web:
        assert (await web.ask("/topics/$SYS/a")).status == 202


async def test_a_page_in_a_browser_needs_a_token() -> None:
    """A page of any site can post to an address of this machine."""
    async with serving() as web:
        assert (await web.ask("/topics/a", Origin="https://evil.example")).status == 403
    async with serving(tokens=TOKENS) as web:
        answer = await web.ask("/topics/a", Origin="https://app.example", Authorization="Bearer fedcba9876543210")
    assert answer.status == 202
    assert "access-control-allow-origin" not in answer.headers
