"""Looks at certificates: those that the hosts present, with their chain and name, and the files of the configuration."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from edgerouter.admin.certificates import WARN_DAYS, Certificates, Condition, expiries
from edgerouter.config.model import RouterConfig
from edgerouter.doctor.endpoints import Endpoint
from edgerouter.doctor.finding import Finding, Verdict, finding
from edgerouter.doctor.in_thread import in_thread
from edgerouter.tls import make_context

SUBJECT: Final = "tls"
_SECONDS: Final = 10.0
_SOCKET_SECONDS: Final = 5.0
_DAY: Final = 86_400.0
_VERDICTS: Final[dict[Condition, tuple[Verdict, str]]] = {
    "good": ("ok", ""),
    "expires soon": ("warn", "renew the certificate"),
    "expired": ("fail", "renew the certificate"),
    "unusable": ("fail", "replace the file"),
}
"""Of a file."""


async def examine(endpoints: Iterable[Endpoint], config: RouterConfig | None) -> list[Finding]:
    """Shake hands with each host that speaks TLS, and look at each certificate file.

    Args:
        endpoints: of the configuration.
        config: names the files.
    """
    encrypted = [each for each in endpoints if each.encrypted and not each.proxied]
    found = list(await asyncio.gather(*(_presented(each) for each in encrypted)))
    return found if config is None else found + await _files(config)


async def _presented(endpoint: Endpoint) -> Finding:
    name = endpoint.address
    try:
        version, ends = await in_thread(partial(_handshake, endpoint), _SECONDS)
    except ssl.SSLCertVerificationError as error:
        return finding(SUBJECT, name, "fail", f"the certificate is not accepted: {error.verify_message}", _cure(error))
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error) or f"no answer within {_SECONDS:g} s"
        return finding(SUBJECT, name, "fail", f"no TLS connection: {reason}", "look at port, `tls.cert` and the network")
    evidence = f"{version}, name and chain are good, the first of {len(ends)} expires in {_days(min(ends)):.0f} days"
    if endpoint.tls.insecure:
        evidence = f"{version}, accepted without verification; it expires in {_days(min(ends)):.0f} days"
        return finding(SUBJECT, name, "warn", evidence, "take out `tls.insecure`, and name the authority in `tls.ca`")
    if _days(min(ends)) < WARN_DAYS:
        return finding(SUBJECT, name, "warn", evidence, "let its operator renew the certificate")
    return finding(SUBJECT, name, "ok", evidence)


def _handshake(endpoint: Endpoint) -> tuple[str, list[float]]:
    context = make_context(endpoint.tls)
    with (
        socket.create_connection((endpoint.host, endpoint.port), _SOCKET_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=endpoint.host) as connection,
    ):
        # public from Python 3.13 on
        chain: Any = getattr(connection, "get_verified_chain", None)
        presented = list(chain()) if chain is not None and not endpoint.tls.insecure else [connection.getpeercert(binary_form=True)]
        ends = [end for der in presented for end in expiries(ssl.DER_cert_to_PEM_cert(der or b""))]
        return connection.version() or "TLS", ends


def _days(end: float) -> float:
    return (end - time.time()) / _DAY


def _cure(error: ssl.SSLCertVerificationError) -> str:
    text = error.verify_message.lower()
    if "expired" in text or "not yet valid" in text:
        return "look at this machine's clock; let the host's operator renew the certificate"
    if "mismatch" in text or "not valid for" in text:
        return "write the name that the certificate holds into the url, or into `tls.server_name`"
    return "name the authority that signed it in `tls.ca`"


async def _files(config: RouterConfig) -> list[Finding]:
    certificates = Certificates()
    await certificates.look(config)
    found = []
    for status in certificates.status:
        condition, text = status.condition
        verdict, change = _VERDICTS[condition]
        found.append(finding(SUBJECT, f"{status.owner}.{status.field}", verdict, text, change))
    return found
