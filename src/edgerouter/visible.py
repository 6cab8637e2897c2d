"""Makes text of other parties safe for a terminal: what a device or a service sends is never an instruction to it."""

from __future__ import annotations


def visible(text: str, *, lines: bool = False) -> str:
    r"""The text with an escape in place of every character that is not printed.

    These are the control characters C0 and C1, with which a terminal is given orders; those that reverse the direction of writing,
    join or have no width, with which one text looks like another; and lone surrogates, which no terminal takes.

    Args:
        text: a topic, a reason, a name.
        lines: leave line breaks and tabs as they are, where the text is ours but for its parts.
    """
    if text.isprintable():
        return text
    return "".join(
        [character if character.isprintable() or (lines and character in "\n\t") else _escape(character) for character in text]
    )


def _escape(character: str) -> str:
    number = ord(character)
    if character in "\n\r\t":
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
