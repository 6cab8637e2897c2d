"""The last good value of every secret, for when its store is down: in memory, or encrypted on disk for the next start too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Protocol

import structlog

from edgerouter.config.model import SecretsConfig
from edgerouter.errors import ConfigurationError
from edgerouter.masking import protect
from edgerouter.private_files import make_private, read_private, replace_private

log = structlog.get_logger("edgerouter.secrets")

FILE: Final = "last-known-secrets"


class _Cipher(Protocol):
    def encrypt(self, data: bytes) -> bytes: ...
    def decrypt(self, token: bytes) -> bytes: ...


class LastKnown:
    """Last answers of the stores.

    Args:
        file: where it is kept over restarts; `None`: nowhere.
        cipher: what encrypts the file.
    """

    def __init__(self, file: Path | None = None, cipher: _Cipher | None = None) -> None:
        self._file = file
        self._cipher = cipher
        self._values: dict[str, str] = {}
        self._found: dict[str, str | None] = {}
        if file is not None and cipher is not None:
            self._read(file, cipher)

    def value(self, store: str, name: str) -> str | None:
        """Return the last value of a secret, if there was one."""
        return self._values.get(f"{store}:{name}")

    def keep(self, store: str, name: str, value: str) -> None:
        """Remember a value that a store gave just now."""
        if self._values.get(f"{store}:{name}") != value:
            self._values[f"{store}:{name}"] = value
            self._write()

    def known(self) -> dict[str, str | None]:
        """Return the stores' last answers: the name under which each secret was found, or `None`."""
        return dict(self._found)

    def keep_known(self, known: dict[str, str | None]) -> None:
        """Remember what the stores have and have not."""
        if known != self._found:
            self._found = dict(known)
            self._write()

    def _read(self, file: Path, cipher: _Cipher) -> None:
        try:
            kept = json.loads(cipher.decrypt(read_private(file)))
            self._values, self._found = dict(kept["values"]), dict(kept["found"])
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001  (whatever the file holds, the stores are asked anew and it is written again)
            log.warning("the last known secrets cannot be read; the stores are asked", file=str(file), reason=type(error).__name__)

    def _write(self) -> None:
        if self._file is None or self._cipher is None:
            return
        data = self._cipher.encrypt(json.dumps({"values": self._values, "found": self._found}).encode())
        try:
            make_private(self._file.parent)
            replace_private(self._file, data, 0o600)
        except OSError as error:
            log.warning("the last known secrets cannot be kept", file=str(self._file), reason=error.strerror)


def open_last_known(config: SecretsConfig, folder: Path) -> LastKnown:
    """Open what the user chose.

    Args:
        config: the section `secrets`.
        folder: of the spool, where the file is by default.

    Raises:
        ConfigurationError: the key cannot be used.
    """
    if config.last_known == "memory":
        return LastKnown()
    from cryptography.fernet import Fernet  # noqa: PLC0415  (takes 40 ms, and few need it)

    try:
        key = config.key.get_secret_value() if config.key is not None else _read_key(config.key_file)
        cipher = Fernet(key.strip())
    except OSError as error:
        raise ConfigurationError(f"secrets.key_file: {config.key_file}: {error.strerror}") from None
    except ValueError:
        where = "key" if config.key is not None else "key_file"
        how = "openssl rand -base64 32 | tr +/ -_"
        raise ConfigurationError(f"secrets.{where}: not 32 bytes in URL-safe base64; make one with: {how}") from None
    return LastKnown(config.file or folder / FILE, cipher)


def _read_key(path: Path | None) -> str:
    assert path is not None, "checked by the model"
    key = path.read_text()
    protect(key)
    return key
