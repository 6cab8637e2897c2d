"""Escapes untrusted text for a terminal: data from a device or a service must never act as terminal commands."""

from __future__ import annotations


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return the text with every unprintable character escaped.

    These are the C0 and C1 control characters, which command a terminal; characters that reverse the writing direction, join or
    have no width, which make one text look like another; and lone surrogates, which a terminal cannot show.

    Args:
        text: a topic, a reason, a name.
        lines: keep line breaks and tabs, for text that only quotes other parties.
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
