"""Each topic has one subject and each subject one topic, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgerouter import Rejected
from edgerouter.testing import make_context, make_message
from edgerouter_nats.subjects import KEY, MOST_SUBJECT_BYTES, SUBJECT, Alphabet, SubjectTemplate, Topics, check_template

ALPHABETS = st.sampled_from([SUBJECT, KEY])
LEVELS = st.text(
    st.sampled_from("ab%=$_2541F.*> é\x01\t\n-") | st.characters(exclude_characters="/+#\x00", exclude_categories=["Cs"])
)
TOPICS = st.lists(LEVELS, min_size=1, max_size=5).map("/".join).filter(lambda topic: topic != "")
TOKENS = st.text(
    st.sampled_from("ab%=$_2541F/+#\x00*>-é") | st.characters(exclude_characters=". \t\r\n", exclude_categories=["Cs"]), min_size=1
)
SUBJECTS = st.lists(TOKENS.filter(lambda token: token not in {"*", ">"}), min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("plant/line-1/temp", "plant.line-1.temp"),
        ("plant/line 1/temp", "plant.line%201.temp"),
        ("v1.2/a", "v1%2E2.a"),
        ("/a//b/", "%.a.%.b.%"),
        ("größe/😀", "größe.😀"),
        ("100%/*/>", "100%25.%2A.%3E"),
        ("$SYS/broker", "%24SYS.broker"),
        ("_INBOX/x/$JS", "%5FINBOX.x.$JS"),
    ],
)
def test_a_topic_reads_as_a_subject_and_back(topic: str, subject: str) -> None:
    assert SUBJECT.subject(topic) == subject
    assert SUBJECT.topic(subject) == topic


@pytest.mark.parametrize(
    ("subject", "topic"),
    [("a/b.c", "%a%2Fb/c"), ("%41.c", "%%2541/c"), ("$SYS.x", "%$SYS/x"), ("a+.#", "%a%2B/%%23"), ("%zz", "%%25zz")],
)
def test_a_subject_that_no_topic_escapes_to_has_a_topic_all_the_same(subject: str, topic: str) -> None:
    assert SUBJECT.topic(subject) == topic


@given(ALPHABETS, TOPICS)
@example(SUBJECT, "%")
@example(SUBJECT, "%a%2Fb")
@example(SUBJECT, "%%2525a%25252Fb")
@example(SUBJECT, "%5FINBOX")
def test_every_topic_comes_back_from_its_subject(alphabet: Alphabet, topic: str) -> None:
    try:
        subject = alphabet.subject(topic)
    except Rejected:
        assert topic[0] == alphabet.escape
        return
    assert alphabet.topic(subject) == topic
    assert not any(each in subject for each in " \t\r\n")
    assert "" not in subject.split(".")
    assert not {"*", ">"} & set(subject.split("."))
    assert subject[0] not in alphabet.reserved


@given(ALPHABETS, SUBJECTS)
@example(SUBJECT, "%24%")
@example(SUBJECT, "%24SYS")
@example(SUBJECT, "%2524SYS")
@example(SUBJECT, "%5F%41")
def test_every_subject_comes_back_from_its_topic_unless_it_is_reserved(alphabet: Alphabet, subject: str) -> None:
    topic = alphabet.topic(subject)
    assert not any(each in topic for each in "+#\x00")
    if subject[0] in alphabet.reserved:
        with pytest.raises(Rejected, match="not for messages"):
            alphabet.subject(topic)
    else:
        assert alphabet.subject(topic) == subject


@given(TOPICS)
def test_a_key_holds_what_every_client_of_a_bucket_takes(topic: str) -> None:
    key = KEY.subject(topic)
    if not topic.startswith("=") and "/=" not in topic:
        assert all(each.isascii() and (each.isalnum() or each in "-_=.") for each in key)


@pytest.mark.parametrize("topic", ["a" * (MOST_SUBJECT_BYTES + 1), " " * 1200, "%" * 60_000, "a/\udc00"])
def test_a_topic_that_makes_no_subject_is_rejected(topic: str) -> None:
    with pytest.raises(Rejected):
        SUBJECT.subject(topic)


def test_a_template_escapes_what_messages_bring_and_not_what_it_says_itself() -> None:
    context = make_context()
    message = make_message(b"", topic="a/$SYS.x/c")
    assert SubjectTemplate("{topic}", context).of(message) == "a.$SYS%2Ex.c"
    assert SubjectTemplate("plant.v1.{topic[1:]}", context).of(message) == "plant.v1.$SYS%2Ex.c"
    assert SubjectTemplate("{topic[1]}", context).of(message) == "%24SYS%2Ex"
    assert SubjectTemplate("$TEST.{topic[0]}", context).of(message) == "$TEST.a"
    assert SubjectTemplate("{topic}", context, KEY, "$KV.bucket.").of(message) == "$KV.bucket.a.=24SYS=2Ex.c"


@pytest.mark.parametrize("text", ["", "a..b", "a b", "a.*", ">", ".a"])
def test_a_template_that_makes_no_subject_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a subject"):
        check_template(text)


def test_topics_of_subjects_leave_out_what_all_begin_with() -> None:
    assert Topics(KEY, "$KV.bucket.")["$KV.bucket.a.=24b"] == "a/$b"
