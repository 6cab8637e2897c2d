"""The section `telemetry` refuses what could not be exported, and hides its keys.

Covers also: edgerouter.section.
"""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter.config import telemetry
from edgerouter.config.telemetry import OtelConfig
from edgerouter.extras import install_command
from edgerouter.masking import mask


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"endpoint": "collector:4318"}, "http://host:4318"),
        ({"endpoint": "grpc://collector"}, "http://host:4318"),
        ({"endpoint": "http://user:password@collector"}, "`headers`"),
        ({"endpoint": "http://collector/?key=1"}, "`headers`"),
        ({"headers": {"a b": "x"}}, "pattern"),
        ({"sample_ratio": 1.1}, "less than or equal to 1"),
        ({"metrics_interval": "0s"}, "greater than or equal to 1"),
        ({"url": "http://collector"}, "Extra inputs"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_the_cure(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        OtelConfig.model_validate(fields)
    assert "password@" not in str(caught.value).replace("input_value='http://user:password@collector'", "")


def test_a_key_is_shown_nowhere() -> None:
    config = OtelConfig.model_validate({"endpoint": "https://collector", "headers": {"api-key": "a-long-key-of-ours"}})
    assert "a-long-key-of-ours" not in repr(config)
    assert "a-long-key-of-ours" not in mask("refused: a-long-key-of-ours")


def test_an_endpoint_without_the_extra_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=re.escape(install_command("otel"))):
        OtelConfig(endpoint="http://collector")
    assert OtelConfig().endpoint is None
