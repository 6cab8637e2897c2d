"""A spool that was copied to another machine with a disk image gives no id that the first one gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgerouter.spool import open_spool
from edgerouter.spool.contract import Rejection
from edgerouter.spool.operator import DeadLetterFilter
from edgerouter.spool.sqlite import machine
from support.spools import Pipe, fresh, ledger, route, sequences, sqlite, take

OfMachine = Callable[..., None]


@pytest.fixture
def of_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OfMachine:
    """Say which machine it is."""
    system, hardware = tmp_path / "machine-id", tmp_path / "serial-number"
    monkeypatch.setattr(machine, "SYSTEM", (system,))
    monkeypatch.setattr(machine, "HARDWARE", (hardware,))

    def say(system_id: str, serial: str = "") -> None:
        system.write_text(f"{system_id}\n")
        hardware.write_text(f"{serial}\0")

    return say


async def used(folder: Path) -> str:
    """A spool that holds a backlog and a dead letter; its id."""
    async with open_spool(sqlite(folder)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        await reader.dead_letter([Rejection(m, "bad", "Rejected", 1, 0) for m in await take(reader, 1)])
        return spool.id


async def test_a_copy_on_another_machine_takes_a_new_id_and_keeps_what_waits(
    tmp_path: Path, of_machine: OfMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    of_machine("one")
    first = await used(tmp_path / "spool")
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    of_machine("another")
    async with open_spool(sqlite(tmp_path / "copy")) as spool:
        second = spool.id
        assert second != first
        assert "gets a new id" in "".join(capsys.readouterr())
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        assert reader.ledger == ledger(10, 0, 1)
        await pipe.append(fresh(2))
        messages = await take(reader, 11)
        assert sequences(messages) == list(range(2, 13))
        assert [message.spool for message in messages] == [first] * 9 + [second] * 2, "what came before the copy keeps its id"
        assert len(await spool.tools.dead_letters(DeadLetterFilter())) == 1
    async with open_spool(sqlite(tmp_path / "copy")) as spool:
        assert spool.id == second, "once"
    of_machine("one")
    async with open_spool(sqlite(tmp_path / "spool")) as spool:
        assert spool.id == first


async def test_a_disk_image_with_a_new_machine_id_is_a_copy_on_other_hardware(tmp_path: Path, of_machine: OfMachine) -> None:
    """There the folder is bit for bit the same."""
    of_machine("one", "board 1")
    first = await used(tmp_path / "spool")
    of_machine("another", "board 2")
    async with open_spool(sqlite(tmp_path / "spool")) as spool:
        assert spool.id != first


@pytest.mark.parametrize(("system", "serial"), [("another", "board 1"), ("one", "board 2"), ("another", ""), ("", "")])
async def test_one_difference_alone_is_not_another_machine(tmp_path: Path, of_machine: OfMachine, system: str, serial: str) -> None:
    """A machine id that is made at each boot, a card in another board: the session at the broker stays."""
    of_machine("one", "board 1")
    first = await used(tmp_path / "spool")
    of_machine(system, serial)
    async with open_spool(sqlite(tmp_path / "spool")) as spool:
        assert spool.id == first


async def test_a_copy_whose_new_id_could_not_be_stored_is_noticed_again(tmp_path: Path, of_machine: OfMachine) -> None:
    """The machine is remembered only with the id."""
    of_machine("one")
    first = await used(tmp_path / "spool")
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    saved = (tmp_path / "copy" / machine.FILE).read_bytes()
    of_machine("another")
    async with open_spool(sqlite(tmp_path / "copy")):
        pass
    assert (tmp_path / "copy" / machine.FILE).read_bytes() != saved
    (tmp_path / "copy" / machine.FILE).write_bytes(saved)
    async with open_spool(sqlite(tmp_path / "copy")) as spool:
        assert spool.id != first
