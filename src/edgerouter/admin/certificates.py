"""Days until the certificates that the configuration names expire: for metrics and status, and a warning in time."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog
from pydantic import BaseModel

from edgerouter.config.file_search import Fingerprint, fingerprint
from edgerouter.config.model import SECTIONS, RouterConfig

log = structlog.get_logger("edgerouter.certificates")

WARN_DAYS: Final = 14.0
"""Days before the end at which warnings begin, one a day."""
LOOK_SECONDS: Final = 60.0
"""Between two looks; a look at a file that did not change costs one system call."""

Condition = Literal["good", "expires soon", "expired", "unusable"]

_DAYS_SHOWN: Final = 2
"""From so many days left the text counts days, below hours."""
_OWN: Final = {"cert", "certificate_file"}
_AUTHORITIES: Final = {"ca", "ca_file", "ca_bundle", "client_ca"}
_PEM: Final = re.compile(r"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.+?)-----END", re.DOTALL)
_CLOCK_IS_SET: Final = 1_577_836_800  # 2020-01-01: a clock that shows an earlier date is not set
_DAY: Final = 86_400.0


class CertificateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One file with certificates."""

    owner: str
    """The part of the configuration that uses it: `sinks.alerts`, `admin`."""
    field: str
    """Field of the configuration that names it: `tls.cert`."""
    file: str
    expires_at: float | None
    """Seconds since 1970-01-01 UTC: the earliest end in a certificate chain, the latest in a bundle of authorities."""
    days_left: float | None
    """Negative once it has expired."""
    problem: str
    """Reason for an unknown end; empty when it is known."""

    @property
    def condition(self) -> tuple[Condition, str]:
        """Condition of the file, and a sentence about it for people."""
        days = self.days_left
        if days is None:
            return "unusable", f"{self.file}: {self.problem}"
        if days <= 0:
            return "expired", f"{self.file} has expired"
        left = f"{days:.0f} days" if days >= _DAYS_SHOWN else f"{days * 24:.0f} hours"
        return "good" if days >= WARN_DAYS else "expires soon", f"{self.file} expires in {left}"


@dataclass(frozen=True, slots=True)
class _Named:
    owner: str
    field: str
    file: Path
    authorities: bool


@dataclass(slots=True)
class _Seen:
    fingerprint: Fingerprint | None
    expires_at: float | None
    problem: str
    warned: tuple[float | None, float] = (None, 0.0)
    """The end that was warned of, and the time of the warning."""


class Certificates:
    """Certificate files that the present configuration names, with what the last look found."""

    def __init__(self) -> None:
        self._named: list[_Named] = []
        self._seen: dict[_Named, _Seen] = {}

    async def configure(self, config: RouterConfig) -> None:
        """Look at the files of this configuration from now on."""
        await self.look(config)
        self._warn()

    async def look(self, config: RouterConfig) -> None:
        """Look at the files of this configuration once, and warn of none."""
        parts = {f"{section}.{member.name}": member.config for section, member in config.members()}
        parts |= {section: getattr(config, section) for section in SECTIONS}
        self._named = [_Named(owner, *found) for owner, part in parts.items() for found in _files(part)]
        self._seen = {named: seen for named, seen in self._seen.items() if named in self._named}
        await asyncio.to_thread(self._look)

    async def watch(self) -> None:
        """Notice replaced files, and warn of those that expire soon; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self._look)
                self._warn()
            except Exception:  # no reason to end the router
                log.exception("certificates cannot be looked at")

    @property
    def status(self) -> list[CertificateStatus]:
        """Result of the last look, with the days that are left now."""
        now = time.time()
        return [
            CertificateStatus(
                owner=named.owner,
                field=named.field,
                file=str(named.file),
                expires_at=seen.expires_at,
                days_left=None if seen.expires_at is None else (seen.expires_at - now) / _DAY,
                problem=seen.problem,
            )
            for named, seen in list(self._seen.items())  # a look that runs in a thread may add to it meanwhile
        ]

    def _look(self) -> None:
        for named in list(self._named):
            seen = self._seen.get(named)
            present = fingerprint(named.file)
            if seen is None:
                seen = self._seen[named] = _Seen(None, None, "")
            elif present is not None and present == seen.fingerprint:
                continue
            seen.fingerprint = present
            try:
                seen.expires_at, seen.problem = _expiry(named.file, authorities=named.authorities), ""
            except (OSError, ValueError) as error:
                seen.expires_at, seen.problem = None, getattr(error, "strerror", None) or str(error)

    def _warn(self) -> None:
        now = time.time()
        if now < _CLOCK_IS_SET:
            return
        for named, seen in self._seen.items():
            end, at = seen.warned
            if seen.expires_at is None or seen.expires_at - now > WARN_DAYS * _DAY:
                continue
            if end == seen.expires_at and 0 <= now - at < _DAY:
                continue
            seen.warned = (seen.expires_at, now)
            days = (seen.expires_at - now) / _DAY
            log.warning(
                "certificate has expired" if days <= 0 else "certificate expires soon",
                used_by=f"{named.owner}.{named.field}",
                file=str(named.file),
                days=round(days, 1),
            )


def _files(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Path, bool]]:
    """Yield every file with certificates that a configuration names: its field, its path, and true for authorities."""
    for name in type(model).model_fields:
        value: Any = getattr(model, name, None)  # while secrets are awaited, a model may be without some
        if isinstance(value, BaseModel):
            yield from _files(value, f"{prefix}{name}.")
        elif isinstance(value, Path) and name in _OWN | _AUTHORITIES:
            yield f"{prefix}{name}", value, name in _AUTHORITIES


def _expiry(file: Path, *, authorities: bool) -> float:
    """Return when the certificates of a file expire.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no certificates.
    """
    ends = expiries(file.read_text("latin-1"))
    if not ends:
        raise ValueError("holds no certificate in PEM")
    # an old authority beside its successor is how authorities are replaced; an old link breaks a chain
    return max(ends) if authorities else min(ends)


def expiries(pem: str) -> list[float]:
    """Return when each certificate of a PEM text expires, in seconds since 1970-01-01 UTC.

    Raises:
        ValueError: one of them is damaged.
    """
    ends = []
    for found in _PEM.finditer(pem):
        der = ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{found[1]}-----END CERTIFICATE-----")
        # a TRUSTED CERTIFICATE has its trust settings appended
        length = 4 + int.from_bytes(der[2:4])
        ends.append(_end(der[:length]))
    return ends


def _end(der: bytes) -> float:
    from cryptography import x509  # noqa: PLC0415  (takes 40 ms, and `status` needs none of it)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bundles of authorities hold old ones whose serial number is negative
        try:
            return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
        except ValueError:
            raise ValueError("holds a damaged certificate") from None
