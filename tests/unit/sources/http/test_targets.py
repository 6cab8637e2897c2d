"""Path or header name the topic, and path or content type the form of the body."""

import pytest

from support.http_source import serving


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("/topics/plant/line1/temp", "plant/line1/temp"),
        ("/topics/gr%C3%B6%C3%9Fe", "größe"),
        ("/topics//leading", "/leading"),
        ("/topics/a%2Fb", "a/b"),
        ("http://edge:8090/topics/proxied", "proxied"),
    ],
)
async def test_the_path_names_the_topic(path: str, topic: str) -> None:
    async with serving() as web:
        assert (await web.ask(path)).status == 202
    assert [each for each, _ in web.stored] == [topic]


async def test_a_header_names_the_topic_where_the_path_does_not() -> None:
    async with serving(topic_prefix="http/", path="/") as web:
        assert (await web.ask("/", Edgerouter_Topic="gr%C3%B6%C3%9Fe")).status == 202
        assert (await web.ask("/a")).status == 202
        missing = await web.ask("/")
    assert [topic for topic, _ in web.stored] == ["http/größe", "http/a"]
    assert missing.status == 400
    assert "Edgerouter-Topic" in missing.detail


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/topics/a/+/b", 400, "wildcards"),
        ("/topics/a/%23", 400, "wildcards"),
        ("/topics/a%00b", 400, "NUL"),
        ("/topics/%FF", 400, "not UTF-8"),
        ("/topics/a?batch=all", 400, "batch=array"),
        ("/topics/a?form=lines", 400, "unknown query parameter 'form'"),
        ("/topicsa", 404, "POST /topics/TOPIC"),
        ("/", 404, "POST /topics/TOPIC"),
    ],
)
async def test_what_is_not_a_topic_is_refused(path: str, status: int, words: str) -> None:
    async with serving() as web:
        answer = await web.ask(path)
    assert answer.status == status
    assert words in answer.detail
    assert not web.stored
