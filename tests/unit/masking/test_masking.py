"""Masking finds a secret in every form that a service may give to it.

Covers: edgerouter.masking.encodings, edgerouter.masking.index, edgerouter.masking.parts, edgerouter.masking.shapes.
"""

from __future__ import annotations

import base64
import json
import os
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter.masking import Secrets
from support.encodings import encodings

SECRET = 'p@ss w0rd&/<"x">\'é-Geheim+42\\n%41;'
HOOK = "https://user:hunter22@hooks.example/services/T000/B000/XXXX?key=abc123"
ACCOUNT = '{"type": "service_account", "project_id": "plant", "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE9abc/def\\n"}'
PARTS = ("0rd&", "Geheim", "R2VoZWlt", "47656865696d")


FORMS = dict(encodings(SECRET))


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_form_that_a_service_may_give_it(form: str) -> None:
    secrets = Secrets()
    secrets.protect([SECRET])
    masked = secrets.mask(f"bad token [{FORMS[form]}] in request")
    assert masked.startswith("bad token [")
    assert masked.endswith("] in request")
    assert len(masked) < len("bad token [***, and more] in request") + 14
    for part in PARTS:
        assert part.lower() not in masked.lower()


@pytest.mark.parametrize("length", [10, 14, 20, len(SECRET) - 1])
def test_a_part_of_a_secret_is_masked_too(length: int) -> None:
    secrets = Secrets()
    secrets.protect([SECRET])
    for part in (SECRET[:length], SECRET[-length:], SECRET[1 : 1 + length]):
        for encoded in (part, json.dumps(part)[1:-1], quote(part), base64.b64encode(part.encode()).decode().rstrip("=")):
            assert len(secrets.mask(f"[{encoded}]")) <= len("[***]") + 3, encoded


PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
"""Characters for which `str.isprintable` is true: a filter would leave out nearly all texts."""


@given(st.text(PRINTABLE, min_size=12, max_size=60).filter(lambda text: len(text.strip()) > 11), st.data())
def test_a_secret_of_any_characters_is_masked_in_any_form(secret: str, data: st.DataObject) -> None:
    secrets = Secrets()
    secrets.protect([secret])
    name, encoded = data.draw(st.sampled_from(list(encodings(secret))))
    if "cut off" in name or ("case" in name and not secret.isascii()):
        return
    masked = secrets.mask(f"[{encoded}]")
    assert encoded not in masked


@pytest.mark.parametrize("secret", ["a", "abc", "mqtt", "1883", ""])
def test_a_secret_that_is_hardly_one_does_not_turn_all_output_into_stars(secret: str) -> None:
    secrets = Secrets()
    secrets.protect([secret])
    text = "mqtt://a.example:1883 cannot be reached: abc"
    assert secrets.mask(text) == text


def test_a_short_secret_is_masked_where_it_stands_alone() -> None:
    secrets = Secrets()
    secrets.protect(["geheim", "x9!k"])
    assert secrets.mask("user:geheim, geheimnis, x9!k") == "user:***, geheimnis, ***"
    assert "Z2VoZWlt" not in secrets.mask(base64.b64encode(b"user:geheim").decode())


def test_words_that_a_secret_shares_with_an_error_stay() -> None:
    secrets = Secrets()
    secrets.protect(["production-password-17", "correct horse battery staple"])
    assert secrets.mask("the password is wrong in production") == "the password is wrong in production"
    assert secrets.mask("wrong: production-password-17") == "wrong: ***"
    assert secrets.mask("wrong: horse battery staple") == "wrong:***"


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        (HOOK, "hooks.example: /services/T000/B000/XXXX", "hooks.example: /***"),
        (HOOK, "at hooks.example: hunter22, abc123", "at hooks.example: ***, ***"),
        (
            "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=RootKey;SharedAccessKey=aGVsbG8gd29ybGQgaGVsbG8=",
            "ns.servicebus.windows.net, RootKey: aGVsbG8gd29ybGQgaGVsbG8=",
            "ns.servicebus.windows.net, RootKey: ***",
        ),
        ("sv=2024-01-01&ss=b&sig=abcdEFGH%2Bijkl%3D", "sv=2024-01-01: abcdEFGH+ijkl= abcdEFGH%2Bijkl%3D", "sv=2024-01-01: *** ***"),
        ("Bearer tok3n-tok3n-tok3n", "Bearer scheme: tok3n-tok3n-tok3n", "Bearer scheme: ***"),
        ("Basic dXNlcjpnZWhlaW1uaXM5", "geheimnis9", "***"),
        (ACCOUNT, "plant: MIIE9abc/def", "plant: ***"),
    ],
)  # fmt: skip
def test_the_public_part_of_a_secret_is_still_shown(secret: str, text: str, masked: str) -> None:
    """The host of a URL and the names in a connection string stay: without them no error could be understood."""
    secrets = Secrets()
    secrets.protect([secret])
    assert secrets.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "Authorization: ${env:TOKEN:-abcdefgh12345678}: not set",
        "Authorization: ${env:TOKEN}abcdefgh12345678",
        "{'Authorization': 'AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=abcdef0123456789'}",
        "https://a.blob.example/c/b?sv=1&sig=abcdef0123456789%3D&se=2",
        "PUT /k?X-Amz-Signature=abcdef0123456789 refused",
        "SharedAccessSignature sr=x&sig=abcdef0123456789&se=1",
        "mqtt://user:abcdef0123456789@host refused",
        '{"access_token": "abcdef0123456789"}',
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIabcdef0123456789",
        "-----BEGIN PRIVATE KEY-----\nabcdef0123456789\n-----END PRIVATE KEY-----",
    ],
)
def test_credentials_that_an_sdk_made_are_masked_by_their_shape(text: str) -> None:
    masked = Secrets().mask(text)
    assert "abcdef" not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "401 Unauthorized: WWW-Authenticate: Bearer realm",
        "basic authentication is wanted",
        "https://host.example/a/b?c=d answers 404, no such resource",
        "Signature does not match",
        "the token has expired",
        "mqtt://host.example:1883 cannot be reached: Connection refused",
    ],
)
def test_ordinary_errors_stay_as_they_are(text: str) -> None:
    secrets = Secrets()
    secrets.protect([SECRET])
    assert secrets.mask(text) == text


def test_a_rotated_secret_stays_masked_and_the_memory_of_secrets_is_bounded() -> None:
    secrets = Secrets()
    secrets.protect(["the-old-one-4711"])
    secrets.protect(["the-new-one-0815"])
    assert secrets.mask("the-old-one-4711 the-new-one-0815") == "*** ***"
    for number in range(20_000):
        secrets.protect([f"rotated-{number:032d}"])
    assert secrets.mask(f"rotated-{19_999:032d}") == "***"
    assert secrets.mask("the-old-one-4711") == "the-old-one-4711"


@pytest.mark.parametrize(
    "unit", ["a", "%41", "&amp;", "eyJaaaaaaaa.", "a://a:", "authorization:a b,a=b,", "-----BEGIN PRIVATE KEY-----", "password='"]
)
def test_a_text_of_any_length_and_content_is_masked_in_a_moment(unit: str) -> None:
    secrets = Secrets()
    secrets.protect([os.urandom(40).hex() for _ in range(1000)])
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    masked = secrets.mask(text)
    assert time.process_time() - began < 0.5
    assert len(masked) < 16_384


def test_nested_base64_is_looked_into_within_bounds() -> None:
    secrets = Secrets()
    secrets.protect([SECRET])
    text = os.urandom(4000)
    while len(text) < 8000:
        text = base64.b64encode(text)
    began = time.process_time()
    secrets.mask(text.decode())
    assert time.process_time() - began < 0.5
    twice = base64.b64encode(base64.b64encode(SECRET.encode())).decode()
    assert len(secrets.mask(f"[{twice}]")) <= len("[***]") + 2
