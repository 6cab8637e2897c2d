"""A token is one of the pinned algorithm, of a known user, and in time; else the caller is refused, never the server's fault."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from edgerouter import Unavailable
from edgerouter_cloudsync.api.answers import Refusal
from edgerouter_cloudsync.api.tokens import TokensConfig, Verifier
from support.cloudsync import plant

PHRASE = "abcdefghijklmnop"
"""As long as those that CloudSync made."""


def token(key: Any = PHRASE, algorithm: str = "HS256", **claims: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode({"aud": "Admin", "exp": int(time.time()) + 86_400, **claims}, key, algorithm)


@pytest.fixture
def phrase(tmp_path: Path) -> TokensConfig:
    file = tmp_path / "passPhraseJWT.txt"
    file.write_text(PHRASE + "\n")
    return TokensConfig(pass_phrase=file, public_key=tmp_path / "app_rsa.pub")


def refused(verifier: Verifier, header: str | None, *, publishing: bool = True) -> tuple[int, str]:
    with pytest.raises(Refusal) as raised:
        verifier.check(header, publishing=publishing)
    assert not raised.value.answer.legacy_body
    return raised.value.answer.status, str(raised.value.answer.more["Detail"])


def test_a_bare_token_of_an_admin_may_do_everything_and_one_of_a_member_may_publish(phrase: TokensConfig) -> None:
    verifier = Verifier(phrase)
    verifier.check(token(), publishing=False)
    verifier.check(f"Bearer {token()}", publishing=False)
    verifier.check(token(aud="Member"), publishing=True)
    assert refused(verifier, token(aud="Member"), publishing=False) == (403, "Member may publish only")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "send the token in the header"),
        ("", "send the token in the header"),
        ("one.two", "not one of HS256"),
        ("a.b.c.d", "not one of HS256"),
        ("....", "not one of HS256"),
        ("é" * 100, "not one of HS256"),
        (token(exp=1), "has expired"),
        (token(aud="Other"), "should be Admin or Member"),
        (token(aud=None), "not one of HS256"),
        (token(exp="soon"), "not one of HS256"),
        (token("another-key"), "not signed with our key"),
        (token(algorithm="HS512"), "not one of HS256"),
        (jwt.encode({"aud": "Admin", "exp": 2**31}, "", "none"), "not one of HS256"),
    ],
)
def test_any_other_token_is_a_401_that_says_why_and_does_not_show_it(phrase: TokensConfig, header: str | None, reason: str) -> None:
    status, detail = refused(Verifier(phrase), header)
    assert status == 401
    assert reason in detail
    assert not header or header not in detail


@pytest.mark.parametrize("missing", ["exp", "aud"])
def test_a_token_without_an_end_or_a_user_is_refused(phrase: TokensConfig, missing: str) -> None:
    claims: Mapping[str, Any] = {"aud": "Admin", "exp": 2**31}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = jwt.encode({name: value for name, value in claims.items() if name != missing}, PHRASE, "HS256")
    assert refused(Verifier(phrase), made)[0] == 401


def test_rs256_is_pinned_where_only_the_public_key_is_there(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "app_rsa.pub").write_bytes(public)
    verifier = Verifier(TokensConfig(pass_phrase=tmp_path / "none", public_key=tmp_path / "app_rsa.pub"))
    assert verifier.algorithm == "RS256"
    verifier.check(token(key, "RS256"), publishing=False)
    assert refused(verifier, token())[0] == 401


def test_a_pass_phrase_is_made_for_this_user_only_and_kept(tmp_path: Path) -> None:
    config = TokensConfig(pass_phrase=tmp_path / "jwt/passPhraseJWT.txt", public_key=tmp_path / "none")
    Verifier(config)
    made = config.pass_phrase.read_text()
    assert len(made) == 32
    assert config.pass_phrase.stat().st_mode & 0o777 == 0o600
    Verifier(config).check(token(made), publishing=True)


@pytest.mark.parametrize(("name", "content"), [("pass_phrase", ""), ("public_key", "nonsense")])
def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    other = {"pass_phrase": "public_key", "public_key": "pass_phrase"}[name]
    with pytest.raises(Unavailable, match=str(file)):
        Verifier(TokensConfig.model_validate({name: file, other: tmp_path / "none"}))


async def test_the_api_asks_for_a_token_and_legacy_callers_get_an_empty_200(phrase: TokensConfig) -> None:
    fields = {"tokens": phrase.model_dump()}
    admin, member = ({"Authorization": token(aud=user)} for user in ("Admin", "Member"))
    async with plant(brokers={"a": None}, source=fields) as running:
        assert (await running.get("subscriptions"))[0] == 401
        assert (await running.send("GET", "subscriptions", headers=member))[0] == 403
        assert (await running.send("GET", "subscriptions", headers=admin))[0] == 200
        assert (await running.send("POST", "publish", headers=member, data=b"{}"))[0] == 400
    async with plant(brokers={"a": None}, source={**fields, "legacy_status": True}) as running:
        assert await running.get("subscriptions") == (200, None)
        assert await running.send("GET", "subscriptions", headers=member) == (200, None)
