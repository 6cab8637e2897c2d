"""Payloads sealed with a key, and opened again: JWE, a binary form, and that of EdgeX."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Format = Literal["jwe", "binary", "edgex"]

KEY_BYTES: Final[dict[Format, int]] = {"jwe": 32, "binary": 32, "edgex": 64}
_MAGIC: Final = b"ERE1"
_NONCE, _TAG, _EDGEX_TAG, _BLOCK = 12, 16, 32, 16
_PART: Final = re.compile(rb"[A-Za-z0-9_-]*")


class NotOpened(Exception):
    """A text is not sealed in a known form, or not with this key."""


def parse_key(text: str, form: Format) -> bytes:
    """Return the bytes of a key.

    Args:
        text: base64, standard or URL-safe, of 32 bytes; for `edgex` hexadecimal, of 64 bytes.
        form: that it is for.

    Raises:
        ValueError: it is something else; the text of the error holds nothing of the key.
    """
    text = text.strip()
    try:
        if form == "edgex":
            key = bytes.fromhex(text)
        else:
            key = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    wanted = KEY_BYTES[form]
    if len(key) != wanted:
        how = (
            "hexadecimal; make one with: openssl rand -hex 64"
            if form == "edgex"
            else "base64; make one with: openssl rand -base64 32"
        )
        raise ValueError(f"is not {wanted} bytes in {how}") from None
    return key


class Sealer:
    """Seals payloads in one form with one key.

    The nonce is a keyed hash of the message and its payload: a retry makes the same bytes, and another payload under the same id
    another nonce (docs/decisions/032).

    Args:
        key: of as many bytes as the form wants.
        key_id: name of the key, which the receiver sees; `edgex` has no place for it.
        form: how the result looks.
    """

    def __init__(self, key: bytes, key_id: str, form: Format) -> None:
        self._form = form
        self._nonce_key = hmac.digest(key, b"edgerouter nonce of step encrypt", "sha256")
        self._key = key
        self._header = _binary_header(key_id) if form == "binary" else _jwe_header(key_id)
        self._aead = AESGCM(key) if form != "edgex" else None

    def seal(self, payload: bytes, message: bytes) -> bytes:
        """Return the sealed payload.

        Args:
            payload: of any bytes.
            message: identifies the message for ever; two messages of the same payload then have different nonces.
        """
        # the digest of the payload has a fixed length, so that no two pairs make the same text
        digest = hmac.digest(self._nonce_key, hashlib.sha256(payload).digest() + message, "sha256")
        if self._aead is None:
            return _edgex_sealed(self._key, digest[:_BLOCK], payload)
        nonce = digest[:_NONCE]
        sealed = self._aead.encrypt(nonce, payload, self._header)
        if self._form == "binary":
            return self._header + nonce + sealed
        return b"%b..%b.%b.%b" % (self._header, _b64(nonce), _b64(sealed[:-_TAG]), _b64(sealed[-_TAG:]))


def open_sealed(sealed: bytes, key: bytes) -> bytes:
    """Return the payload, whatever form it is sealed in.

    Args:
        sealed: result of `Sealer.seal`.
        key: 32 bytes, or 64 of EdgeX.

    Raises:
        NotOpened: it is none, or was sealed with another key, or has changed.
    """
    if len(key) == KEY_BYTES["edgex"]:
        return _edgex_opened(key, sealed)
    if sealed.startswith(_MAGIC) and len(sealed) > len(_MAGIC):
        end = len(_MAGIC) + 1 + sealed[len(_MAGIC)]
        header, nonce, rest, name = sealed[:end], sealed[end : end + _NONCE], sealed[end + _NONCE :], sealed[len(_MAGIC) + 1 : end]
    else:
        header, nonce, rest, name = _jwe_parts(sealed)
    if len(nonce) != _NONCE or len(rest) < _TAG:
        raise NotOpened("it is cut short")
    try:
        return AESGCM(key).decrypt(nonce, rest, header)
    except InvalidTag:
        shown = name.decode(errors="replace")[:100]
        raise NotOpened(f"the key does not fit, or it has changed on the way; it was sealed with the key {shown!r}") from None


def _binary_header(key_id: str) -> bytes:
    name = key_id.encode()
    return _MAGIC + bytes((len(name),)) + name


def _jwe_header(key_id: str) -> bytes:
    """Return the protected header (RFC 7516), which is authenticated too."""
    return _b64(json.dumps({"alg": "dir", "enc": "A256GCM", "kid": key_id}, separators=(",", ":")).encode())


def _jwe_parts(sealed: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    parts = sealed.strip().split(b".", 5)
    if len(parts) != 5 or not all(map(_PART.fullmatch, parts)):
        raise NotOpened("it is not sealed: neither a JWE nor the binary form")
    try:
        header = json.loads(_unb64(parts[0]))
        nonce, text, tag = map(_unb64, parts[2:])
        fits = isinstance(header, dict) and (header.get("alg"), header.get("enc")) == ("dir", "A256GCM") and not parts[1]
    except (ValueError, RecursionError):
        raise NotOpened("it is not sealed: not a JWE") from None
    if not fits or len(tag) != _TAG:
        raise NotOpened('it is a JWE of another kind; "alg": "dir" and "enc": "A256GCM" are known')
    return parts[0], nonce, text + tag, str(header.get("kid", "")).encode(errors="replace")


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _edgex_tag(key: bytes, text: bytes) -> bytes:
    """Return the first half of HMAC-SHA-512 over nonce, ciphertext and the length of no associated data."""
    return hmac.digest(key[32:], text + bytes(8), "sha512")[:_EDGEX_TAG]


def _edgex_sealed(key: bytes, nonce: bytes, payload: bytes) -> bytes:
    """Seal as EdgeX 2 and later do: AES-256-CBC with the first half of the key, the MAC with the second, all in base64."""
    size = _BLOCK - len(payload) % _BLOCK
    encryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(nonce)).encryptor()
    text = nonce + encryptor.update(payload + bytes((size,)) * size) + encryptor.finalize()
    return base64.b64encode(text + _edgex_tag(key, text))


def _edgex_opened(key: bytes, sealed: bytes) -> bytes:
    try:
        data = base64.b64decode(sealed.strip(), validate=True)
    except binascii.Error:
        raise NotOpened("it is not sealed as EdgeX does: not base64") from None
    text, tag = data[:-_EDGEX_TAG], data[-_EDGEX_TAG:]
    if len(text) < 2 * _BLOCK or len(text) % _BLOCK:
        raise NotOpened("it is not sealed as EdgeX does, or cut short")
    if not hmac.compare_digest(tag, _edgex_tag(key, text)):
        raise NotOpened("the key does not fit, or it has changed on the way")
    decryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(text[:_BLOCK])).decryptor()
    padded = decryptor.update(text[_BLOCK:]) + decryptor.finalize()
    return padded[: -padded[-1]]
