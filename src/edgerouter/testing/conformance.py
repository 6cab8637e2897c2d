"""Conformance suite of sinks: one pytest class that a sink's author subclasses.

```python
class TestMySink(SinkConformance):
    sink_class = MySink
    unsupported = {"fail_once": "the service takes a request whole or not at all"}

    @pytest.fixture
    async def server(self):
        async with MyFakeService().running() as server:   # a SinkServer, for HTTP most easily an HttpSinkServer
            yield server

    @pytest.fixture
    def config(self, server):
        return {"url": server.url, "token": "a-secret-of-the-test"}
```

It needs pytest-asyncio and nothing of the engine, so it works wherever edgerouter is installed. `SinkPromises` lists the
attributes that a subclass may set; `SinkServer` describes the server.
"""

from __future__ import annotations

import pytest

from edgerouter.testing.config_promises import ConfigPromises
from edgerouter.testing.fault_promises import FaultPromises
from edgerouter.testing.loop_promises import LoopPromises
from edgerouter.testing.needs import ABILITIES


@pytest.mark.asyncio
class SinkConformance(ConfigPromises, FaultPromises, LoopPromises):
    """Everything that the router relies on in a sink. Subclass it under a name that starts with `Test`."""

    async def test_what_is_declared_unsupported_has_a_name_and_a_reason(self) -> None:
        """A misspelt name in `unsupported` would hide a missing test."""
        assert set(self.unsupported) <= ABILITIES
        assert all(reason.strip() for reason in self.unsupported.values())
