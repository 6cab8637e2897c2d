"""The step `encrypt`: payloads that only the holder of a key can read."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from edgerouter.item import Item
from edgerouter.masking import protect
from edgerouter.step import OnError, Step, StepConfig, StepContext
from edgerouter.steps import payloads
from edgerouter.units import ByteSize

_LONGEST_KEY_FILE: Final = 4096
_CONTENT_TYPES: Final = {"jwe": "application/jose", "binary": "application/octet-stream", "edgex": "text/plain"}


class EncryptConfig(StepConfig):
    """Encrypts each payload with AES-256 and authenticates it; the topic and the properties stay readable.

    Put it last: what it makes is not JSON. `edgerouter decrypt` reads all three forms. The content type of the message becomes
    `application/jose`, `application/octet-stream` or, for `edgex`, `text/plain`.
    """

    on_error: OnError = "dead_letter"
    """Handling of a message that cannot be encrypted, because it is too large: it goes to the dead letters, is dropped, or goes on
    in plain text. Each is counted by step and reason."""
    key: SecretStr | None = None
    """32 bytes in base64, from `openssl rand -base64 32`; for `edgex` 64 bytes in hexadecimal. As `${env:NAME}` or
    `${file:/path}`."""
    key_file: Path | None = Field(default=None, examples=["/run/secrets/payload"])
    """Instead of `key`: a file that holds it. It is read at the start and at each reload; another content restarts the sink."""
    key_id: str = Field(default="1", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:/-]+$", examples=["2026-11"])
    """Name of the key, readable in every message, so that receivers know which one to take after a change; `edgex` has none."""
    format: Literal["jwe", "binary", "edgex"] = "jwe"
    """`jwe` is a JSON Web Encryption in compact form (RFC 7516, `dir`, `A256GCM`), which libraries of most languages read. `binary`
    is shorter: `ERE1`, a byte with the length of the key's name, the name, 12 bytes of nonce, then ciphertext and tag of
    AES-256-GCM, with all that stands before the nonce as associated data. `edgex` is that of EdgeX's `Encrypt` with `aes256`:
    base64 of nonce, AES-256-CBC and half an HMAC-SHA-512."""
    max_bytes: ByteSize = Field(default=16 * 1024**2, ge=1, le=256 * 1024**2)
    """Largest payload; a larger one counts as `too large`."""

    _text: bytes = PrivateAttr(default=b"")

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if (self.key is None) == (self.key_file is None):
            raise ValueError("needs either `key` or `key_file`")
        if self.key_file is not None:
            self._text = _read(self.key_file)
        key_of(self)
        return self

    @property
    def contents(self) -> bytes:
        """The text of `key_file`."""
        return self._text


def key_of(config: EncryptConfig) -> bytes:
    """Return the key.

    Raises:
        ValueError: it cannot be used; the error holds nothing of it.
    """
    from edgerouter.steps.sealing import parse_key  # noqa: PLC0415  (cryptography takes 40 ms, and few need it)

    name, text = "key", config.key.get_secret_value() if config.key is not None else ""
    if config.key_file is not None:
        name, text = f"key_file {config.key_file}", config.contents.decode(errors="replace").strip()
        protect(text)
    try:
        return parse_key(text, config.format)
    except ValueError as error:
        raise ValueError(f"`{name}` {error}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_KEY_FILE)
    except OSError as error:
        raise ValueError(f"`key_file` {path}: {error.strerror}") from None


class EncryptStep(Step[EncryptConfig]):
    """Seals each payload under the id of its message."""

    def __init__(self, config: EncryptConfig, context: StepContext) -> None:
        super().__init__(config, context)
        from edgerouter.steps.sealing import Sealer  # noqa: PLC0415

        self._seal = Sealer(key_of(config), config.key_id, config.format).seal

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._encrypted)

    def _encrypted(self, item: Item) -> bool:
        payload = payloads.bounded(item, self.config.max_bytes)
        message = item.message
        # in a source a message has no id yet, but a time
        place = f"{message.id} {message.received_at} {message.topic}".encode(errors="surrogatepass")
        form = self.config.format
        payloads.replace(item, self._seal(payload, place), text=form != "binary", content_type=_CONTENT_TYPES[form])
        return True
