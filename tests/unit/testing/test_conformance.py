"""The conformance suite passes an honest sink and catches each way in which a sink can lie.

Covers also: edgerouter.testing.config_promises, edgerouter.testing.delivery, edgerouter.testing.fault_promises,
edgerouter.testing.held_loop, edgerouter.testing.http_server, edgerouter.testing.loop_promises, edgerouter.testing.messages,
edgerouter.testing.limit_promises, edgerouter.testing.promises, edgerouter.testing.server, edgerouter.testing.write_promises.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest
from pydantic import SecretBytes, SecretStr

from edgerouter import Limits
from edgerouter.config.model import SinkPolicies
from edgerouter.testing import SinkConformance  # noqa: F401  (sets up the assertions of its modules before one is imported)
from edgerouter.testing.config_promises import POLICY_FIELDS, secrets_of
from support.wrong import sink_limits, sink_traces, sinks  # noqa: F401  (each fills the catalogue)
from support.wrong.catalogue import Wrong, fails, of
from support.wrong.honest_sink import TOKEN, EchoConfig, EchoServer, EchoSink, EchoSuite

LEAKS = (sinks.Stubborn, sink_traces.Background, sink_traces.Leaking, sink_traces.Threaded)
"""The suite waits for the end of these as long as it is patient."""


class TestAnHonestSink(EchoSuite):
    """Passes every test."""


@pytest.mark.parametrize("each", of("sink"), ids=lambda each: each.plugin.__name__)
async def test_a_wrong_sink_fails_the_test_of_its_promise(
    each: Wrong, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails with the cure."""
    suite = EchoSuite()
    suite.sink_class = each.plugin  # type: ignore[misc]  # this one suite object is about the wrong sink
    suite.patience = 1 if each.plugin in LEAKS else 20  # type: ignore[misc]  # so short for this one
    test = getattr(suite, each.test)
    async with EchoServer().running() as server, cleaned_up():
        fixtures = {
            "server": server, "config": {"url": server.url, "token": TOKEN}, "unit": "é".encode(),
            "caplog": caplog, "capsys": capsys,
        }  # fmt: skip
        wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
        await fails(each, partial(test, **{name: fixtures[name] for name in wanted}))


@asynccontextmanager
async def cleaned_up() -> AsyncIterator[None]:
    """Take away what wrong sinks leave behind."""
    yield
    for task in sink_traces.Background.later:
        task.cancel()
    for session in (*sink_traces.Leaking.sessions, *sink_traces.Global.shared):
        await session.close()
    for ended in sink_traces.Threaded.ended:
        ended.set()
    sinks.Buffering.kept.clear()


async def test_a_missing_fault_that_is_not_declared_fails_its_tests() -> None:
    class Lazy(EchoServer):
        async def throttle(self, seconds: float) -> None:
            raise NotImplementedError

    suite = EchoSuite()
    async with Lazy().running() as server:
        with pytest.raises(pytest.fail.Exception, match="Lazy neither does 'throttle'"):
            await suite.disturb(server, "throttle", 1)
    suite.unsupported = {"throtle": "misspelt"}  # type: ignore[misc]  # this one suite object is misspelt
    with pytest.raises(AssertionError):
        await suite.test_what_is_declared_unsupported_has_a_name_and_a_reason()


@pytest.mark.parametrize(
    ("limits", "unsupported"),
    [
        (Limits(), {"max_bytes": "none"}),
        (Limits(max_bytes=2**40), {"max_message_bytes": "none"}),
        (Limits(max_bytes=4000), {"max_bytes": "none", "max_message_bytes": "none"}),
    ],
)
async def test_a_limit_that_is_neither_testable_nor_declared_or_is_both_is_caught(
    limits: Limits, unsupported: Mapping[str, str]
) -> None:
    class Limited(EchoSink):
        @property
        def limits(self) -> Limits:
            return limits

    suite = EchoSuite()
    suite.sink_class = Limited  # type: ignore[misc]  # this one suite object is about these limits
    suite.unsupported = unsupported  # type: ignore[misc]  # and declares them wrongly
    with pytest.raises(AssertionError, match="`unsupported`"):
        await suite.test_the_limits_make_sense({"url": "http://127.0.0.1:1"})


async def test_a_configuration_without_a_secret_is_caught_if_that_is_not_declared() -> None:
    with pytest.raises(AssertionError, match="give the `config` of the test a secret"):
        await EchoSuite().test_the_configuration_never_shows_a_secret({"url": "http://127.0.0.1:1"})


class ManySecrets(EchoConfig):
    headers: dict[str, SecretStr] = {}
    """Secrets by name."""
    keys: list[SecretBytes] = []
    """Secrets without a name."""
    inner: list[EchoConfig] = []
    """Sections with secrets."""


def test_secrets_in_nested_sections_lists_and_mappings_are_found() -> None:
    inner = EchoConfig(url="u", token=SecretStr("d"))
    config = ManySecrets(
        url="u", token=SecretStr("a"), headers={"x": SecretStr("b")}, keys=[SecretBytes(b"c"), SecretBytes(b"")], inner=[inner]
    )
    assert list(secrets_of(config)) == ["a", "b", "c", "d"]


async def test_a_sink_that_says_that_it_blocks_may() -> None:
    class Declared(sink_traces.Sleeping):
        blocking = True

    suite = EchoSuite()
    suite.sink_class = Declared  # type: ignore[misc]  # this one suite object is about the sink that blocks
    async with EchoServer().running() as server:
        await suite.test_the_event_loop_is_never_held_up({"url": server.url})


def test_the_suite_knows_the_names_of_all_policies() -> None:
    assert set(SinkPolicies.model_fields) | {"type"} == POLICY_FIELDS


def test_the_fakes_come_without_pytest() -> None:
    import sys

    program = "import sys, edgerouter.testing as t; t.make_message(); assert not {'pytest', 'edgerouter.spool'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
