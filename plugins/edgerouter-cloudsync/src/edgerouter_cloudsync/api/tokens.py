"""Tokens of callers: CloudSync's JSON Web Tokens, whose `aud` is the user."""

from __future__ import annotations

import os
import secrets
import string
import warnings
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jwt
from pydantic import BeforeValidator, Field
from structlog import get_logger

from edgerouter import Section, Unavailable
from edgerouter_cloudsync.api.answers import not_identified, not_permitted

log = get_logger("edgerouter.cloudsync")

FOLDER: Final = Path("/var/edge-orchestration/data/jwt")
"""Folder of CloudSync's key files."""
ADMIN, MEMBER = "Admin", "Member"
_SCHEME: Final = "bearer "
_LETTERS: Final = 32
"""Of a pass phrase that is made here; CloudSync's had 16."""


class TokensConfig(Section):
    """Checks of the token in the header `Authorization`."""

    algorithm: Literal["auto", "HS256", "RS256"] = "auto"
    """The only algorithm that a token may have. `auto` is RS256 where there is only `public_key`, else HS256."""
    pass_phrase: Path = Field(default=FOLDER / "passPhraseJWT.txt", examples=["/etc/edgerouter/passPhraseJWT.txt"])
    """File of the pass phrase for HS256. It is made if it is missing, readable for this user only."""
    public_key: Path = Field(default=FOLDER / "app_rsa.pub", examples=["/etc/edgerouter/app_rsa.pub"])
    """PEM file of the public key for RS256."""


def _switch(value: Any) -> Any:
    return {} if value is True else None if value is False else value


Tokens = Annotated[TokensConfig | None, BeforeValidator(_switch)]
"""A field that holds `TokensConfig`, or `true` for its defaults, or `false`."""


class Verifier:
    """Finds the user of a token.

    Args:
        config: names the algorithm and the key files. The files are read here: not for the event loop.

    Raises:
        Unavailable: a key file cannot be used.
    """

    def __init__(self, config: TokensConfig) -> None:
        self.algorithm = config.algorithm
        if self.algorithm == "auto":
            self.algorithm = "RS256" if config.public_key.is_file() and not config.pass_phrase.is_file() else "HS256"
        try:
            self._key = _pass_phrase(config.pass_phrase) if self.algorithm == "HS256" else config.public_key.read_text()
            jwt.get_algorithm_by_name(self.algorithm).prepare_key(self._key)
        except (OSError, ValueError, jwt.InvalidKeyError) as error:
            file = config.pass_phrase if self.algorithm == "HS256" else config.public_key
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Unavailable(f"tokens cannot be checked: {file}: {reason}; see `tokens` of the source") from None

    def check(self, header: str | None, *, publishing: bool) -> None:
        """Return for a caller that may do this.

        Args:
            header: the value of `Authorization`: the token as it is, or after `Bearer`.
            publishing: the call publishes, which is all that a Member may do.

        Raises:
            Refusal: 401 or 403.
        """
        if not header:
            raise not_identified("send the token in the header `Authorization`")
        token = header[len(_SCHEME) :] if header.lower().startswith(_SCHEME) else header
        try:
            audience = self._verify(token.strip())["aud"]
        except jwt.ExpiredSignatureError:
            raise not_identified("the token has expired") from None
        except jwt.InvalidAudienceError:
            raise not_identified(f"`aud` of the token should be {ADMIN} or {MEMBER}") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise not_identified(
                f"the token is not one of {self.algorithm} with `exp` and `aud`, or not signed with our key"
            ) from None
        users = [audience] if isinstance(audience, str) else audience
        if ADMIN not in users and not publishing:
            raise not_permitted(MEMBER)

    def _verify(self, token: str) -> Any:
        with warnings.catch_warnings():
            # pass phrases of CloudSync are shorter than PyJWT likes
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            options: Any = {"require": ["exp", "aud"]}
            return jwt.decode(token, self._key, [self.algorithm], options, audience=[ADMIN, MEMBER])


def _pass_phrase(file: Path) -> str:
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        phrase = "".join(secrets.choice(string.ascii_letters) for _ in range(_LETTERS))
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as new:
            new.write(phrase)
        log.info("made a pass phrase for tokens", file=str(file))
    phrase = file.read_text().strip()
    if not phrase:
        raise Unavailable(f"tokens cannot be checked: {file} is empty; remove it to have one made")
    return phrase
