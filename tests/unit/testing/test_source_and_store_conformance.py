"""The suites of sources and secret stores pass honest ones, and fail wrong ones with the cure.

Covers: edgerouter.secrets, edgerouter.testing.secret_store_conformance, edgerouter.testing.source_conformance,
edgerouter.testing.source_bench, edgerouter.testing.plugin_promises.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import pytest

from edgerouter.testing import SecretStoreConformance, SourceConformance
from edgerouter.testing.source_bench import Acknowledged, Send
from support.wrong import catalogue, sources, stores
from support.wrong.catalogue import Wrong, of
from support.wrong.honest_source import CONFIG, QUEUE, Queue, QueueSource
from support.wrong.stores import Vault

SOURCES_THAT_WAIT = (sources.DeafToStop, sources.Reversing, sources.Quiet, sources.Never, sources.Background, sources.Threaded)
"""The suite waits for these as long as it is patient."""


class TestAnHonestSource(SourceConformance):
    source_class = QueueSource
    tight: ClassVar[Mapping[str, Any]] = {"max_messages": 10}

    @pytest.fixture
    def queue(self) -> Queue:
        return QueueSource.queues.setdefault(QUEUE, Queue())

    @pytest.fixture(autouse=True)
    def _anew(self) -> None:
        QueueSource.queues.clear()

    @pytest.fixture
    def config(self, queue: Queue) -> Mapping[str, Any]:
        return CONFIG

    @pytest.fixture
    def send(self, queue: Queue) -> Send:
        return queue.send

    @pytest.fixture
    def acknowledged(self, queue: Queue) -> Acknowledged:
        return lambda: queue.acknowledged


async def fails(suite: Any, each: Wrong, fixtures: Mapping[str, Any]) -> None:
    """Run one test of a suite, which must fail with what the catalogue says."""
    test = getattr(suite, each.test)
    wanted = inspect.signature(test).parameters
    await catalogue.fails(each, partial(test, **{name: fixtures[name] for name in wanted}))


@pytest.mark.parametrize("each", of("source"), ids=lambda each: each.plugin.__name__)
async def test_a_wrong_source_fails_the_test_of_its_promise(
    each: Wrong, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails with the cure."""
    suite = TestAnHonestSource()
    suite.source_class = each.plugin  # type: ignore[misc]  # this one suite object is about the wrong source
    suite.patience = 0.5 if each.plugin in SOURCES_THAT_WAIT else 20  # type: ignore[misc]  # so short for this one
    queue = QueueSource.queues[QUEUE] = Queue()
    fixtures = {
        "config": CONFIG, "send": queue.send, "acknowledged": lambda: queue.acknowledged, "caplog": caplog, "capsys": capsys
    }  # fmt: skip
    try:
        await fails(suite, each, fixtures)
    finally:
        for ended in sources.Threaded.ended:
            ended.set()
        for task in sources.Background.later:
            task.cancel()


class TestAnHonestStore(SecretStoreConformance):
    store_class = Vault

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        return {}

    @pytest.fixture
    def secret(self) -> Iterator[tuple[str, str]]:
        Vault.secrets["db"] = " hunter2 "
        yield "db", " hunter2 "
        Vault.secrets.clear()

    @pytest.fixture
    def rotate(self) -> Callable[[str], None]:
        return lambda value: Vault.secrets.update(db=value)


@pytest.mark.parametrize("each", of("secret store"), ids=lambda each: each.plugin.__name__)
async def test_a_wrong_store_fails_the_test_of_its_promise(
    each: Wrong, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails with the cure."""
    suite = TestAnHonestStore()
    suite.store_class = each.plugin  # type: ignore[misc]  # this one suite object is about the wrong store
    suite.patience = 0.5 if each.plugin is stores.Renewing else 20  # type: ignore[misc]  # a leak is waited for that long
    Vault.secrets["db"] = " hunter2 "
    try:
        await fails(
            suite, each, {
                "config": {}, "secret": ("db", " hunter2 "), "rotate": lambda value: Vault.secrets.update(db=value),
                "caplog": caplog, "capsys": capsys,
            },
        )  # fmt: skip
    finally:
        Vault.secrets.clear()
        for task in stores.Renewing.later:
            task.cancel()


@pytest.mark.parametrize(("suite", "fixture"), [(SourceConformance, "acknowledged"), (SecretStoreConformance, "rotate")])
def test_a_suite_that_lacks_a_fixture_is_asked_for_it_or_for_the_reason(suite: type[Any], fixture: str) -> None:
    """The message of the fixture shows the declaration."""
    with pytest.raises(NotImplementedError, match=f'`unsupported = {{"{fixture}": '):
        inspect.unwrap(getattr(suite, fixture))(suite())
