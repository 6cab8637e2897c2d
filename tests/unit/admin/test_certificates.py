"""A certificate that expires is reported in time."""

import os
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from edgerouter import plugins
from edgerouter.admin.certificates import Certificates, expiries
from edgerouter.config.model import RouterConfig
from support.certificates import Authority, Certificate

DAY = 86_400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Everything it signs is of use for two days."""
    return Authority(tmp_path_factory.mktemp("authority"))


def configuration(folder: Path, authority: Authority, device: Certificate) -> RouterConfig:
    file = folder / "edgerouter.yaml"
    tls = {"ca": str(authority.certificate), "cert": str(device.certificate), "key": str(device.key)}
    file.write_text(
        yaml.safe_dump(
            {
                "sources": {"local": {"type": "mqtt", "url": "mqtts://localhost", "topics": ["#"], "tls": tls}},
                "sinks": {"web": {"type": "http", "url": "https://localhost/", "tls": {"ca": str(authority.certificate)}}},
                "spool": {"path": str(folder / "spool")},
            }
        )
    )
    return plugins.load(file, {})


async def test_every_certificate_file_of_the_configuration_says_how_many_days_are_left(
    tmp_path: Path, authority: Authority
) -> None:
    looked = Certificates()
    await looked.configure(configuration(tmp_path, authority, authority.issue("device")))
    found = {(status.owner, status.field): status for status in looked.status}
    assert found.keys() == {("sources.local", "tls.ca"), ("sources.local", "tls.cert"), ("sinks.web", "tls.ca")}
    assert all(status.days_left is not None and 1.9 < status.days_left <= 2.0 for status in found.values())
    assert not any(status.problem for status in found.values())


async def test_the_certificate_of_the_admin_interface_is_one_of_them(tmp_path: Path, authority: Authority) -> None:
    device = authority.issue("device")
    config = configuration(tmp_path, authority, device)
    file = tmp_path / "edgerouter.yaml"
    tls = {"cert": str(device.certificate), "key": str(device.key), "client_ca": str(authority.certificate)}
    file.write_text(file.read_text() + yaml.safe_dump({"admin": {"listen": "127.0.0.1:0", "tls": tls}}))
    looked = Certificates()
    await looked.configure(config)
    before = {(status.owner, status.field) for status in looked.status}
    await looked.configure(plugins.load(file, {}))
    assert {(status.owner, status.field) for status in looked.status} - before == {
        ("admin", "tls.cert"),
        ("admin", "tls.client_ca"),
    }


async def test_a_certificate_that_expires_soon_is_warned_of_once_a_day(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Certificates()
    with structlog.testing.capture_logs() as logs:
        config = configuration(tmp_path, authority, authority.issue("device"))
        await looked.configure(config)
        await looked.configure(config)
        assert [entry["event"] for entry in logs] == ["certificate expires soon"] * 3
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + DAY + 1)
        await looked.configure(config)
        assert len(logs) == 6
        monkeypatch.setattr(time, "time", lambda: now + 3 * DAY)
        await looked.configure(config)
        assert [entry["event"] for entry in logs[6:]] == ["certificate has expired"] * 3
        monkeypatch.setattr(time, "time", lambda: 1000.0)
        await looked.configure(config)
        assert len(logs) == 9, "a clock that is not set yet warns of nothing"


async def test_a_replaced_file_is_noticed_and_an_unusable_one_is_reported(tmp_path: Path, authority: Authority) -> None:
    device = authority.issue("replaced")
    looked = Certificates()
    config = configuration(tmp_path, authority, device)
    await looked.configure(config)
    content = device.certificate.read_text()
    device.certificate.write_text("no certificate")
    await looked.configure(config)
    (status,) = [status for status in looked.status if status.field == "tls.cert"]
    assert (status.days_left, status.problem) == (None, "holds no certificate in PEM")
    device.certificate.unlink()
    await looked.configure(config)
    assert [s.problem for s in looked.status if s.field == "tls.cert"] == [os.strerror(2)]
    device.certificate.write_text(content)
    await looked.configure(config)
    assert all(not status.problem for status in looked.status)


def test_the_dates_are_those_that_the_ssl_module_reads() -> None:
    """Both ways of writing a date, in every authority that this machine trusts; where the machine has none, nothing is shown."""
    file = ssl.get_default_verify_paths().cafile
    if file is None or not Path(file).exists():
        pytest.skip("this machine has no authorities")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file)
    theirs = {ssl.cert_time_to_seconds(str(authority["notAfter"])) for authority in context.get_ca_certs()}
    assert theirs <= set(expiries(Path(file).read_text()))


@pytest.mark.parametrize("cut", [3, 40, 100, 200])
def test_a_damaged_certificate_is_an_error_and_no_date(authority: Authority, cut: int) -> None:
    der = ssl.PEM_cert_to_DER_cert(authority.certificate.read_text())
    with pytest.raises(ValueError, match=r"damaged|certificate"):
        list(expiries(ssl.DER_cert_to_PEM_cert(der[:cut])))


def test_an_end_after_2050_is_read() -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    begin, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2060, 1, 2, 3, 4, 5, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()
    assert list(expiries(pem)) == [end.timestamp()]


def test_a_trusted_certificate_is_read_without_what_it_is_trusted_for(authority: Authority) -> None:
    der = ssl.PEM_cert_to_DER_cert(authority.certificate.read_text()) + b"\x30\x00"
    pem = ssl.DER_cert_to_PEM_cert(der).replace(" CERTIFICATE", " TRUSTED CERTIFICATE")
    assert list(expiries(pem)) == list(expiries(authority.certificate.read_text()))
