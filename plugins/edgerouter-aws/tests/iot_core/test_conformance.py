"""The IoT Core sink keeps every promise of the sink contract, at a service that ends the connection beyond its limits.

Covers: edgerouter_aws.iot_core.connection, edgerouter_aws.iot_core.sink.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from edgerouter.testing import SinkConformance
from edgerouter_aws.iot_core.sink import IotCoreSink
from support.aws.iot_core import IotCoreServer


class TestIotCoreSink(SinkConformance):
    sink_class = IotCoreSink
    throttle_tells_wait = False  # a reason code holds no time
    unsupported: ClassVar[Mapping[str, str]] = {"max_bytes": "each message is published by itself"}

    @pytest.fixture
    def server(self, iot_core: IotCoreServer) -> IotCoreServer:
        return iot_core

    @pytest.fixture
    def config(self, mutual: dict[str, Any]) -> Mapping[str, Any]:
        return mutual
