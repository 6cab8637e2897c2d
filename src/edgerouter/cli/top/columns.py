"""Tables of text that fit the width they have: the least important columns go first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.text import Text

_LONGEST: Final = 500
"""Characters of a text on one line: marks that combine take no cell, and could be many."""
_NARROWEST_NAME: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    title: str
    cells: Sequence[str | Text]
    keep: int
    """Order of importance; the highest goes first, and 0 is never dropped."""
    right: bool = True


def cropped(text: str | Text, width: int) -> Text:
    """Return a text that takes so many cells at most; an ellipsis stands for what is cut."""
    line = text.copy() if isinstance(text, Text) else Text(text)
    if len(line) > _LONGEST:
        line = line[:_LONGEST]
    line.truncate(max(0, width), overflow="ellipsis")
    return line


def table(columns: Sequence[Column], width: int) -> list[Text]:
    """Return the title and the rows, each of the whole width."""
    shown = list(columns)
    while len(shown) > 2 and _width(shown) > width:
        last = max(shown, key=lambda column: column.keep)
        if last.keep == 0:
            break
        shown.remove(last)
    widths = [_widest(column) for column in shown]
    widths[0] = max(_NARROWEST_NAME, min(widths[0], width - (sum(widths[1:]) + len(shown) - 1)))
    title = _row([Text(column.title, "bold") for column in shown], shown, widths, width)
    count = len(shown[0].cells)
    return [title, *(_row([column.cells[row] for column in shown], shown, widths, width) for row in range(count))]


def _width(columns: Sequence[Column]) -> int:
    return sum(_widest(column) for column in columns) + len(columns) - 1


def _widest(column: Column) -> int:
    texts = [column.title, *(cell.plain if isinstance(cell, Text) else cell for cell in column.cells)]
    return max(cell_len(text[:_LONGEST]) for text in texts)


def _row(cells: Sequence[str | Text], columns: Sequence[Column], widths: Sequence[int], width: int) -> Text:
    line = Text()
    for cell, column, wide in zip(cells, columns, widths, strict=True):
        text = cropped(cell, wide)
        space = " " * (wide - text.cell_len)
        if line:
            line.append(" ")
        line.append_text(Text.assemble(space, text) if column.right else Text.assemble(text, space))
    line = cropped(line, width)
    line.append(" " * (width - line.cell_len))
    return line
