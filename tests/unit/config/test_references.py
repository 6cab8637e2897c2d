"""A reference stands for a secret, which is read when a source or sink opens, and shown nowhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgerouter import Unavailable, plugins
from edgerouter.config.model import ConfiguredSink
from edgerouter.config.references import resolve
from support.configuration_file import GOOD, Here


class TestReferences:
    """`${env:NAME}`, `${file:/path}` and `${store:name}`."""

    def test_references_stand_for_a_whole_value_or_inside_a_text(self, here: Here) -> None:
        (here.folder / "secret").write_text("from-file\n")
        fields = (
            'queue: "${env:Q}", region: "${env:NONE:-home}/${file:secret}/$${x}", '
            'port: "${env:PORT}", qos: "${env:QOS}", secure: "${env:YES}"'
        )
        sink = here.sink(fields, {"Q": "12345", "PORT": "7", "QOS": "2", "YES": "true"})
        assert sink.config.queue == "12345"
        assert sink.config.region == "home/from-file/${x}"
        assert (sink.config.port, sink.config.qos, sink.config.secure) == (7, 2, True)

    def test_what_a_reference_brings_is_not_read_as_references_again(self, here: Here) -> None:
        assert here.sink('queue: "${env:Q}"', {"Q": "${env:X} ${vault:y}"}).config.queue == "${env:X} ${vault:y}"

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("${env:NOPE}", "${env:NOPE}: the variable is not set"),
            ("${file:/no/such}", "${file:/no/such}: No such file or directory"),
            ("${file:/}", "${file:/}: is a directory"),
            ("${file:binary}", "${file:binary}: is not UTF-8 text"),
            ("${nope}", "`${` starts a reference"),
            ("${env:", "`${` starts a reference"),
            ("${env:}", "`${` starts a reference"),
            ("${valt:x}", "no secret store 'valt' is listed in secret_stores; did you mean 'vault'?"),
            ("${safe:x}", "the secret store 'safe' needs more than its name; list it under secret_stores"),
        ],
    )
    def test_a_reference_that_leads_nowhere_is_reported_at_its_place(self, here: Here, value: str, reason: str) -> None:
        (here.folder / "binary").write_bytes(b"\xff\xfe")
        found = here.sink_problems(f'queue: "{value}"')
        assert len(found) == 1
        assert found[0].startswith(f"edgerouter.yaml:3:27: sinks.k.queue: {reason}")

    @pytest.mark.parametrize(
        "field",
        ["port", "size", "wait", "token", "qos", "secure", "timeout", "concurrency", "start", "topics", "batch"],
    )
    def test_a_value_out_of_a_reference_is_in_no_error(self, here: Here, field: str) -> None:
        secret = "bad-#Hunter2/+x"
        found = here.sink_problems(f'queue: q, {field}: "${{env:SECRET}}"', {"SECRET": secret})
        assert found
        assert not re.search("hunter2|bad-", "\n".join(found), re.IGNORECASE), found

    @pytest.mark.parametrize("place", ["timeout: ", "topics: [", "type: "])
    def test_a_store_is_asked_only_for_a_plugins_own_fields(self, here: Here, place: str) -> None:
        text = GOOD.replace("type: queue", place + '"${vault:x}"' + ("]" if "[" in place else "")).replace(
            "{k: {", "{k: {" if "type" in place else "{k: {type: queue, "
        )
        assert here.problems(text)

    async def test_a_secret_of_a_store_is_read_at_each_opening(self, here: Here) -> None:
        sink = here.sink('queue: "a-${vault:q}", port: "${vault:p}", region: "$${x}"')
        vault: Any = plugins.find("secret_store", "vault")
        assert set(sink.pending) == {("vault", "q"), ("vault", "p")}
        stores = here.load(here.text).secret_stores
        assert [store.name for store in stores] == ["vault"]

        vault.secrets = {"q": "one", "p": "1"}
        first: Any = await resolve(sink, stores)
        vault.secrets = {"q": "two", "p": "2"}
        second: Any = await resolve(sink, stores)

        assert (first.queue, first.port, first.region) == ("a-one", 1, "${x}")
        assert (second.queue, second.port) == ("a-two", 2)

    async def test_a_listed_store_is_found_by_its_name_and_configured(self, here: Here) -> None:
        text = GOOD.replace("queue: q", 'queue: "${mine:q}"') + "secret_stores: {mine: {type: vault, prefix: p-}}\n"
        config = here.load(text)
        vault: Any = plugins.find("secret_store", "vault")
        vault.secrets = {"q": "x"}
        resolved: Any = await resolve(config.sinks[0], config.secret_stores)
        assert resolved.queue == "p-x"

    async def test_a_secret_that_is_missing_or_does_not_fit_makes_the_sink_unavailable_and_is_not_shown(self, here: Here) -> None:
        sink: ConfiguredSink = here.sink('queue: q, token: "${vault:t}"')
        stores = here.load(here.text).secret_stores
        vault: Any = plugins.find("secret_store", "vault")
        vault.secrets = {}
        with pytest.raises(Unavailable, match="no secret 't'"):
            await resolve(sink, stores)
        vault.secrets = {"t": "bad-hunter2"}
        with pytest.raises(Unavailable, match=r"not valid with what \$\{vault:t\} holds now: token") as caught:
            await resolve(sink, stores)
        assert "hunter2" not in str(caught.value)

    async def test_a_source_is_unavailable_as_a_source(self, here: Here) -> None:
        config = here.load(GOOD.replace("type: feed", 'type: feed, password: "${vault:p}"'))
        vault: Any = plugins.find("secret_store", "vault")
        vault.secrets = {}
        with pytest.raises(Unavailable):
            await resolve(config.sources[0], config.secret_stores)
