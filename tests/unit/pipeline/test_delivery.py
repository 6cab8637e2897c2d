"""Messages that a sink does not take are written again, isolated or dead-lettered, as its error says.

Covers also: edgerouter.pipeline.attempts, edgerouter.tasks.backoff.
"""

import asyncio
import math
from collections.abc import Sequence

import pytest

from edgerouter import DELIVERED, Failure, Message, Outcome, Rejected, Throttled, Unauthorized, Unavailable
from support.pipeline import ListReader, configured, messages, running, scripted, sequences, until


async def test_only_what_failed_is_written_again() -> None:
    fail_once = {3, 5}

    def answer(batch: Sequence[Message]) -> Outcome:
        failures = [Failure(i, Unavailable("busy")) for i, m in enumerate(batch) if m.sequence in fail_once]
        fail_once.clear()
        return Outcome(failures)

    reader, plugin = ListReader(*messages(6)), scripted(answer)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2, 3, 4, 5, 6], [3, 5]]


async def test_a_service_that_takes_some_of_each_write_is_not_waited_for_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IoT hub takes what its rate allows and closes the connection; after ten such writes the next one came a minute later."""
    counted: list[int] = []

    def delay(attempt: int, *_: object, **_named: object) -> float:
        counted.append(attempt)
        return 0.0

    monkeypatch.setattr("edgerouter.pipeline.delivery.full_jitter", delay)
    takes = iter([2, 0, 0, 2, 1, 0, 1])

    def answer(batch: Sequence[Message]) -> Outcome:
        taken = next(takes)
        return Outcome([Failure(i, Throttled("closed the connection")) for i in range(taken, len(batch))])

    reader, plugin = ListReader(*messages(6)), scripted(answer)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert counted == [1, 2, 3, 1, 1, 2]


async def test_a_rejected_entry_is_dead_lettered_with_its_reason_and_the_rest_is_not_resent() -> None:
    reader = ListReader(*messages(4))
    plugin = scripted(lambda batch: Outcome([Failure(1, Rejected("not JSON"))]) if len(batch) == 4 else DELIVERED)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert [(r.message.sequence, r.reason, r.error, r.attempts) for r in reader.rejections] == [(2, "not JSON", "Rejected", 1)]
    assert len(plugin.writes) == 1


async def test_a_long_error_is_kept_as_its_beginning() -> None:
    """Status, log and dead letters hold it, and a service may repeat the message that it does not take."""
    reader = ListReader(*messages(1))
    plugin = scripted(lambda batch: Outcome([Failure(0, Rejected("not JSON: " + "x" * 1_000_000))]))
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert reader.rejections[0].reason.startswith("not JSON: xxx")
    assert len(reader.rejections[0].reason) < 3000

    reader = ListReader(*messages(1))
    plugin = scripted(lambda batch: Outcome([Failure(0, Unavailable("y" * 1_000_000))]))
    async with running(configured(plugin), reader) as runner:
        await until(lambda: runner.status.last_error)
        assert len(runner.status.last_error) < 3000


@pytest.mark.parametrize("bad", [{1}, {500}, {1000}, {17, 18}, {3, 700}])
async def test_a_batch_rejected_as_a_whole_is_bisected_to_the_bad_messages_in_few_writes(bad: set[int]) -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        if bad & set(sequences(batch)):
            raise Rejected("malformed")
        return DELIVERED

    reader, plugin = ListReader(*messages(1000)), scripted(answer)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert {r.message.sequence for r in reader.rejections} == bad
    assert sequences(reader.delivered_messages) == [n for n in range(1, 1001) if n not in bad]
    assert len(plugin.writes) <= 1 + 2 * math.ceil(math.log2(1000)) * len(bad)


async def test_the_halving_goes_on_where_it_was_when_the_service_fails_in_between() -> None:
    """A service that takes few writes in a row, because it throttles or its link is bad, still gets to the end."""

    def answer(batch: Sequence[Message]) -> Outcome:
        if len(plugin.writes) % 3 == 0:
            raise Throttled("busy", retry_after=0)
        if 700 in sequences(batch):
            raise Rejected("malformed")
        return DELIVERED

    reader, plugin = ListReader(*messages(1000)), scripted(answer)
    async with running(configured(plugin, retry={"first_delay": 0.001, "max_delay": 0.001}), reader):
        await until(lambda: not reader.pending)
    assert [r.message.sequence for r in reader.rejections] == [700]
    assert sequences(reader.delivered_messages) == [n for n in range(1, 1001) if n != 700]
    assert len(plugin.writes) <= 1.5 * (1 + 2 * math.ceil(math.log2(1000)))


async def test_a_sink_that_is_unavailable_is_tried_again_with_everything_in_order() -> None:
    left = 3

    def answer(batch: Sequence[Message]) -> Outcome:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Unavailable("connection refused")
        return DELIVERED

    reader, plugin = ListReader(*messages(5)), scripted(answer)
    async with running(configured(plugin), reader) as runner:
        await until(lambda: not reader.pending)
        assert runner.status.state == "ok"
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2, 3, 4, 5]] * 4
    assert not reader.rejections


async def test_a_write_without_an_answer_is_tried_again_after_the_timeout() -> None:
    async def answer(batch: Sequence[Message]) -> Outcome:
        if len(plugin.writes) == 1:
            await asyncio.Event().wait()
        return DELIVERED

    reader = ListReader(*messages(2))
    plugin = scripted(answer)
    async with running(configured(plugin, timeout=0.05), reader) as runner:
        await until(lambda: not reader.pending)
        assert "no answer within 0.05 s" in runner.status.last_error
    assert len(plugin.writes) == 2


async def test_missing_permission_opens_the_sink_anew_and_never_dead_letters() -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        if plugin.opened < 3:
            raise Unauthorized("403")
        return DELIVERED

    reader = ListReader(*messages(3))
    plugin = scripted(answer)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert not reader.rejections
    assert sequences(reader.delivered_messages) == [1, 2, 3]


async def test_a_throttled_sink_waits_as_long_as_the_service_asked() -> None:
    times = []

    def answer(batch: Sequence[Message]) -> Outcome:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise Throttled("slow down", retry_after=0.2)
        return DELIVERED

    reader, plugin = ListReader(*messages(1)), scripted(answer)
    async with running(configured(plugin), reader) as runner:
        await until(lambda: runner.status.state == "throttled")
        await until(lambda: not reader.pending)
    assert times[1] - times[0] >= 0.2
    assert runner.status.throttled_seconds >= 0.2


async def test_a_bug_in_the_plugin_is_tried_a_bounded_number_of_times_then_isolated() -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        if 3 in sequences(batch):
            raise ZeroDivisionError("oops")
        return DELIVERED

    reader, plugin = ListReader(*messages(4)), scripted(answer)
    policy = {"first_delay": 0.001, "max_delay": 0.002, "plugin_bug_attempts": 2}
    async with running(configured(plugin, retry=policy), reader):
        await until(lambda: not reader.pending)
    assert [(r.message.sequence, r.error) for r in reader.rejections] == [(3, "PluginBug")]
    assert "ZeroDivisionError: oops" in reader.rejections[0].reason
    assert sequences(reader.delivered_messages) == [1, 2, 4]


async def test_an_answer_that_names_no_message_of_the_batch_is_a_bug_of_the_plugin() -> None:
    reader = ListReader(*messages(1))
    plugin = scripted(lambda batch: Outcome([Failure(7, Unavailable("?"))]))
    policy = {"first_delay": 0.001, "max_delay": 0.002, "plugin_bug_attempts": 1}
    async with running(configured(plugin, retry=policy), reader):
        await until(lambda: not reader.pending)
    assert "index 7" in reader.rejections[0].reason


async def test_what_is_given_up_on_is_dead_lettered_with_the_last_cause() -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        raise Unavailable("still down")

    reader, plugin = ListReader(*messages(2)), scripted(answer)
    policy = {"first_delay": 0.001, "max_delay": 0.002, "give_up_after": 0.05}
    async with running(configured(plugin, retry=policy), reader):
        await until(lambda: not reader.pending)
    assert [r.reason for r in reader.rejections] == ["still down", "still down"]
    assert reader.rejections[0].attempts > 1


async def test_what_a_sink_did_not_try_is_written_at_once_and_does_not_count_as_a_failure() -> None:
    """A sink of many requests ends its write before the time-out would, which would have all of them sent anew, for ever."""

    def answer(batch: Sequence[Message]) -> Outcome:
        return Outcome(untried=range(3, len(batch)))

    reader, plugin = ListReader(*messages(10)), scripted(answer)
    async with running(configured(plugin, retry={"first_delay": 3600, "max_delay": 3600}), reader) as runner:
        await until(lambda: not reader.pending)
        assert (runner.status.state, runner.status.last_error, runner.status.failed_writes) == ("ok", "", 0)
    assert [sequences(batch)[0] for batch in plugin.writes] == [1, 4, 7, 10]


async def test_a_sink_that_tries_nothing_waits_like_any_other_that_fails() -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        return Outcome(untried=range(len(batch)))

    reader, plugin = ListReader(*messages(2)), scripted(answer)
    async with running(configured(plugin, retry={"first_delay": 3600, "max_delay": 3600}), reader) as runner:
        await until(lambda: runner.status.state == "retrying")
    assert len(plugin.writes) == 1


async def test_a_failure_counts_more_than_what_was_not_tried_beside_it() -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        return Outcome([Failure(2, Unavailable("broken"))], untried=[1]) if len(batch) == 3 else DELIVERED

    reader, plugin = ListReader(*messages(3)), scripted(answer)
    async with running(configured(plugin), reader) as runner:
        await until(lambda: runner.status.last_error == "broken")
        await until(lambda: not reader.pending)
    assert sequences(plugin.writes[1]) == [2, 3]
