"""Conformance suite of steps: one pytest class that a step's author subclasses.

```python
class TestMyStep(StepConformance):
    step_class = MyStep
    config = {"field": "temperature"}
    samples = (b'{"temperature": 21.5}', b'{"temperature": 22}')
```
"""

from __future__ import annotations

import copy
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from edgerouter.item import UNREAD, Item
from edgerouter.json_codec import decoded
from edgerouter.message import Message
from edgerouter.step import Step, StepConfig
from edgerouter.testing.config_promises import secrets_of, undocumented
from edgerouter.testing.step_bench import BAD_PAYLOADS, FOR_EVER, Bench, damaged, result_of, stored


class StepConformance:
    """Promises that the router relies on in a step. Subclass it under a name that starts with `Test`."""

    step_class: ClassVar[type[Step[Any]]]
    """The step under test."""
    config: ClassVar[Mapping[str, Any]]
    """The step's fields as in the YAML file."""
    samples: ClassVar[Sequence[Message | bytes]]
    """Messages, or payloads of messages, that it has something to do with; at least one goes on, or is part of a result."""
    tight: ClassVar[Mapping[str, Any]] = {}
    """Of a step that keeps or holds anything: the fields that bound its memory, set to 64 KiB or less."""
    most_state_bytes: ClassVar[int] = 1024 * 1024
    """Most memory that it may take with the fields of `tight`."""
    most_seconds: ClassVar[float] = 1.0
    """Most processor time for a single message; all sinks and sources wait for it."""

    def bench(self, **fields: Any) -> Bench:
        """Make the step as the router does."""
        return Bench(self.step_class, {**self.config, **fields})

    def repeated(self) -> list[Message]:
        """Return the samples again and again, 50 messages or more."""
        return stored([*self.samples] * (1 + 49 // len(self.samples)))

    # -- configuration ----------------------------------------------------------------------------------------------------------

    def test_the_configuration_is_documented_and_strict(self) -> None:
        """A docstring under each field is the user manual; an unknown key is an error; values do not change."""
        model = self.step_class.Config
        assert issubclass(model, StepConfig), "`Config` is a subclass of edgerouter.StepConfig"
        assert model.model_config.get("frozen") is True, "leave `frozen` as StepConfig has it"
        silent = list(undocumented(model))
        assert silent == [], f"write a docstring under these fields: {', '.join(silent)}"
        assert "type" not in model.model_fields, "`type` is the name of the step itself"
        assert model.model_json_schema()["additionalProperties"] is False
        with pytest.raises(ValidationError, match="no_such_key"):
            model.model_validate({**self.config, "no_such_key": 1})

    def test_the_configuration_never_shows_a_secret(self) -> None:
        """Neither its repr, nor its text, nor its dump holds the value of a secret."""
        model = self.bench().model
        shown = f"{model!r} {model!s} {model.model_dump()!r} {model.model_dump_json()}"
        assert not [secret for secret in secrets_of(model) if secret in shown], "leave SecretStr as it is"

    # -- lists ------------------------------------------------------------------------------------------------------------------

    def test_the_samples_have_results(self) -> None:
        """A test of a step that lets nothing through would show little."""
        bench = self.bench()
        assert bench.results(self.repeated(), 1000), f"nothing goes on of the samples: {[str(error) for _, error in bench.refused]}"

    def test_every_message_is_accounted_for(self) -> None:
        """A message goes on, is split, held, part of a result, refused, or filtered; never twice, and never in two ways."""
        bench, step = self.bench(), self.step_class
        items = [Item(message, message) for message in self.repeated()]
        out = bench.apply(items)
        given, gone = {id(item) for item in items}, [id(item) for item in out]
        assert len(gone) == len(set(gone)), "an item is returned twice"
        made = [item for item in out if id(item) not in given]
        assert all(item.behind for item in made), "a new item comes from `Item.parts` or `Item.merged`"
        assert not any(item.behind == () for item in out), "an item that was split is returned beside its parts"
        assert step.splits or step.holds or not made, (
            "a step that returns parts has `splits = True`, one that merges `holds = True`"
        )
        held = list(bench.step.held)
        assert step.holds or not held, "a step that holds items has `holds = True`"
        if step.holds:
            known = {id(item) for item in (*out, *held, *bench.dropped, *(item for item, _ in bench.refused))}
            behind = {id(one.message) for item in out for one in item.behind or ()}
            lost = [item for item in items if id(item) not in known and id(item.original) not in behind and item.behind != ()]
            assert not lost, "a step with `holds` neither returned, held, merged nor dropped an item; use `context.drop`"

    def test_order_is_kept(self) -> None:
        """Results come in the order of the messages that they stand for."""
        places = [item.message.sequence for item in self.bench().apply([Item(m, m) for m in self.repeated()])]
        assert self.step_class.holds or places == sorted(places), "`apply` keeps the order of its list"

    def test_results_do_not_depend_on_the_lists(self) -> None:
        """Messages come one by one from a slow source and by thousands from a backlog: the results are the same."""
        whole = self.bench().results(self.repeated(), 1000)
        for at_once in (1, 7, 1000):
            found = self.bench().results(self.repeated(), at_once)
            assert found == whole, f"in lists of {at_once} the results differ from those of one list, or between two instances"

    def test_what_is_held_is_given_back(self) -> None:
        """After a last `flush` nothing is held, and `due` says when there is something to flush."""
        bench = self.bench()
        bench.apply([Item(message, message) for message in self.repeated()])
        assert (bench.step.due is not None) == bool(list(bench.step.held)), "`due` is a time while something is held, else None"
        bench.step.flush(FOR_EVER)
        assert not list(bench.step.held), "after a `flush` beyond all times nothing is held: return all results, or they never come"
        assert bench.step.due is None

    def test_shared_documents_are_not_changed(self) -> None:
        """Other sinks read the same documents: a step that changes one in place changes what they send."""
        messages = self.repeated()
        documents = [decoded(message.payload) for message in messages]
        before = copy.deepcopy(documents)
        bench = self.bench()
        bench.apply([Item(message, message, document) for message, document in zip(messages, documents, strict=True)])
        bench.step.flush(FOR_EVER)
        assert [repr(each) for each in documents] == [repr(each) for each in before], "copy what you change"

    def test_a_step_that_selects_changes_nothing(self) -> None:
        """It is left out when a batch is made again after a crash."""
        if self.step_class.selects:
            messages = {message.sequence: message for message in self.repeated()}
            for item in self.bench().apply([Item(message, message) for message in messages.values()]):
                item.finish()
                assert item.message == messages[item.message.sequence], "`selects = True` is for steps that change no message"

    # -- bad input --------------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("on_error", ["pass", "drop", "dead_letter"])
    def test_bad_input_raises_nothing_and_is_handled_by_on_error(self, on_error: str) -> None:
        """Each message by itself: a device must not be able to stop a sink, or to hold it up."""
        bench = self.bench(on_error=on_error)
        for message in stored([*BAD_PAYLOADS, *damaged(self.samples[:1])]):
            item, shown = Item(message, message), message.payload[:80]
            refused = len(bench.refused)
            begin = time.process_time()
            try:
                out = bench.apply([item])
            except Exception as error:
                raise AssertionError(
                    f"`apply` raises nothing; for {shown!r} it raised {error!r}: give `context.refuse` a BadInput, or use `each`"
                ) from error
            took = time.process_time() - begin
            assert took < self.most_seconds, f"{took:.1f} s of processor time for {shown!r}"
            if len(bench.refused) > refused:
                self._check_refusal(bench, item, out)
            for each in out:
                try:
                    result_of(each)
                except (ValueError, TypeError, RecursionError):
                    continue  # the router refuses a result that is not JSON
        bench.step.flush(FOR_EVER)

    def _check_refusal(self, bench: Bench, item: Item, out: list[Item]) -> None:
        _, error = bench.refused[-1]
        assert len(error.reason) <= 40, f"the reason {error.reason!r} is counted: one of few texts; values go to the detail"
        assert len(str(error)) <= 2000, "a reason quotes the beginning of a value only"
        if bench.model.on_error == "pass":
            assert any(each is item for each in out), "`context.refuse` returned True: the item goes on"
            assert item.payload == item.original.payload, "an item that was refused goes on unchanged"
        else:
            assert not any(each is item for each in out), "`context.refuse` returned False: the item is not returned"

    # -- bounds -----------------------------------------------------------------------------------------------------------------

    def test_memory_is_bounded_for_invented_topics(self) -> None:
        """A device that invents a topic for each message makes no step grow."""
        if not (self.step_class.stateful or self.step_class.holds):
            return
        assert self.tight, "set the fields that bound the step's memory in `tight`"
        bench = self.bench(**self.tight)
        sample = stored(self.samples)[0]
        tracemalloc.start()
        try:
            for number in range(3000):
                message = Message(f"{number:06}" * 170, sample.payload, sample.received_at, spool="spool", sequence=number + 1)
                bench.apply([Item(message, message, UNREAD)])
            bench.refused.clear()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size < self.most_state_bytes, f"3000 topics of 1 KiB took {size} bytes: bound what is kept, in bytes"
