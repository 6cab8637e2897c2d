"""A strict message broker behind the endpoint's certificate, and configurations that lead to it."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.aws.iot_core import ENDPOINT, IotCore, IotCoreServer, check_signature
from support.certificates import Authority, Certificate

ACCESS, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "token/that+stays=secret"


@pytest.fixture(scope="session")
def device(authority: Authority) -> Certificate:
    return authority.issue("edge-7", password="the-password-of-the-key")


@pytest.fixture(scope="session")
def endpoint(authority: Authority) -> Certificate:
    return authority.issue(ENDPOINT)


@pytest.fixture
async def iot_core(authority: Authority, endpoint: Certificate) -> AsyncIterator[IotCoreServer]:
    def context(*, mutual: bool) -> ssl.SSLContext:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(endpoint.certificate, endpoint.key)
        if mutual:
            tls.load_verify_locations(authority.certificate)
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.set_alpn_protocols(["x-amzn-mqtt-ca"])
        return tls

    sign = functools.partial(check_signature, access_key=ACCESS, secret_key=SECRET, token=TOKEN)
    async with IotCoreServer(IotCore(), context(mutual=True), sign).running(context(mutual=False)) as running:
        yield running
        assert running.core.problems + running.core.faults == []


@pytest.fixture
def mutual(iot_core: IotCoreServer, authority: Authority, device: Certificate) -> dict[str, Any]:
    """Fields of a device with a certificate."""
    return {
        "endpoint": ENDPOINT,
        "address": f"127.0.0.1:{iot_core.port()}",
        "certificate": str(device.certificate),
        "key_file": str(device.key),
        "key_password": "the-password-of-the-key",
        "root_ca": str(authority.certificate),
    }


@pytest.fixture
def signed(iot_core: IotCoreServer, authority: Authority) -> dict[str, Any]:
    """Fields of credentials that sign a request."""
    assert iot_core.bridge is not None
    return {
        "endpoint": ENDPOINT,
        "address": f"127.0.0.1:{iot_core.bridge.port}",
        "access_key_id": ACCESS,
        "secret_access_key": SECRET,
        "session_token": TOKEN,
        "root_ca": str(authority.certificate),
    }
