"""`CLOUD_SYNC=true` sets up CloudSync without a file."""

from __future__ import annotations

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter_cloudsync.brokers import CERTIFICATES
from edgerouter_cloudsync.sink import CloudSyncSinkConfig
from edgerouter_cloudsync.source import CloudSyncSourceConfig


def loaded(**environ: str) -> tuple[CloudSyncSourceConfig, CloudSyncSinkConfig]:
    config = CloudBlock(environ).load(plugins)
    (source,), (sink,) = config.sources, config.sinks
    assert isinstance(source.config, CloudSyncSourceConfig)
    assert isinstance(sink.config, CloudSyncSinkConfig)
    assert sink.policies.topics == ("$cloudsync/#",)
    assert sink.policies.concurrency == 32
    return source.config, sink.config


@pytest.mark.parametrize("on", ["true", "TRUE", "True"])
def test_true_in_any_letters_turns_it_on_at_port_56001_with_real_statuses(on: str) -> None:
    source, sink = loaded(CLOUD_SYNC=on)
    assert (source.listen, source.legacy_status, source.checked_tokens) == ("0.0.0.0:56001", False, None)
    assert (sink.qos, sink.retain, sink.secure) == (1, False, False)


@pytest.mark.parametrize("off", ["false", "1", "yes"])
def test_anything_else_leaves_it_off(off: str) -> None:
    with pytest.raises(ConfigurationError, match="at least one source is needed"):
        CloudBlock({"CLOUD_SYNC": off}).load(plugins)


def test_the_old_statuses_quality_and_retain_come_with_one_variable() -> None:
    source, sink = loaded(CLOUD_SYNC="true", CLOUD_SYNC_LEGACY="true")
    assert source.legacy_status
    assert (sink.qos, sink.retain) == (0, True)


def test_other_fields_can_be_set_beside_it() -> None:
    source, sink = loaded(
        CLOUD_SYNC="true", EDGEROUTER__SOURCES__CLOUDSYNC__LISTEN="127.0.0.1:1", EDGEROUTER__SINKS__CLOUDSYNC__QOS="2"
    )
    assert source.listen == "127.0.0.1:1"
    assert sink.qos == 2


def test_secure_wants_the_original_certificate_files() -> None:
    with pytest.raises(ConfigurationError) as raised:
        loaded(CLOUD_SYNC="true", SECURE="true")
    assert f"`secure` needs {CERTIFICATES}/ca-crt.pem" in str(raised.value)


def test_a_misspelt_name_is_reported() -> None:
    config = CloudBlock({"CLOUD_SYNC": "true", "CLOUD_SYNC_LEGCY": "true", "SECURED": "true"}).load(plugins)
    assert config.unread == ("CLOUD_SYNC_LEGCY is not read; did you mean CLOUD_SYNC_LEGACY?",)
