"""A table fits its width: names stay, and the least important numbers go first."""

from __future__ import annotations

import pytest

from edgerouter.cli.top.columns import Column, cropped, table

COLUMNS = [
    Column("NAME", ["a", "a-longer-name", "\u6f22\u5b57\u6f22\u5b57"], 0, right=False),
    Column("STATE", ["ok", "retrying", "ok"], 0, right=False),
    Column("PENDING", ["1", "12,345", "0"], 1),
    Column("TYPE", ["file", "http", "file"], 2),
]


@pytest.mark.parametrize("width", [20, 24, 30, 40, 80, 500])
def test_every_line_is_as_wide_as_the_screen(width: int) -> None:
    assert {line.cell_len for line in table(COLUMNS, width)} == {width}


def test_the_least_important_columns_go_first() -> None:
    titles = {width: table(COLUMNS, width)[0].plain.split() for width in (40, 34, 24)}
    assert titles == {40: ["NAME", "STATE", "PENDING", "TYPE"], 34: ["NAME", "STATE", "PENDING"], 24: ["NAME", "STATE"]}


def test_a_name_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert table(COLUMNS, 20)[2].plain == "a-longer-n\u2026 retrying"


def test_marks_without_width_do_not_make_a_line_endless() -> None:
    assert len(cropped("e" + "\u0301" * 1_000_000, 80)) <= 500
