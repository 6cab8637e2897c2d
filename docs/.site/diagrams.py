"""Draw the diagrams of the pages in both themes: `python docs/.site/diagrams.py` writes docs/assets/*-light.svg and *-dark.svg."""  # noqa: INP001  (a script)

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
THEMES = {
    "light": {
        "ink": "#1f2430",
        "soft": "#5b6372",
        "line": "#9aa3b2",
        "box": "#f4f6fa",
        "spool": "#3f51b5",
        "ok": "#1b7f3b",
        "bad": "#b3261e",
    },
    "dark": {
        "ink": "#e6e9f0",
        "soft": "#a9b1c0",
        "line": "#6b7486",
        "box": "#262b36",
        "spool": "#8c9eff",
        "ok": "#6fcf8b",
        "bad": "#ff8a80",
    },
}
FONT = "font-family='system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif'"


class Drawing:
    """Shapes of one diagram in one theme."""

    def __init__(self, width: int, height: int, title: str, colours: dict[str, str]) -> None:
        self._colours = colours
        heads = "".join(
            f"<marker id='{name}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
            f"<path d='M0 0 8 4 0 8z' fill='{colours[name]}'/></marker>"
            for name in ("line", "ok", "bad", "spool")
        )
        self._parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' aria-label='{title}' {FONT}>",
            f"<title>{title}</title><defs>{heads}</defs>",
        ]

    def text(
        self, x: int, y: int, words: str, *, colour: str = "ink", size: int = 15, weight: int = 400, anchor: str = "middle"
    ) -> None:
        """Write one line of text."""
        fill = self._colours[colour]
        self._parts.append(
            f"<text x='{x}' y='{y}' fill='{fill}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}'>{words}</text>"
        )

    def box(self, x: int, y: int, width: int, height: int, title: str, *, note: str = "", edge: str = "line") -> None:
        """Draw a box with a title and a smaller line below it."""
        self._parts.append(
            f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='8' fill='{self._colours['box']}'"
            f" stroke='{self._colours[edge]}' stroke-width='1.5'/>"
        )
        middle = x + width // 2
        self.text(middle, y + height // 2 + (-3 if note else 5), title, weight=600)
        if note:
            self.text(middle, y + height // 2 + 16, note, colour="soft", size=12)

    def arrow(self, path: str, *, colour: str = "line", dashed: bool = False) -> None:
        """Draw an arrow along a path."""
        dashes = " stroke-dasharray='6 5'" if dashed else ""
        self._parts.append(
            f"<path d='{path}' fill='none' stroke='{self._colours[colour]}' stroke-width='2'{dashes} marker-end='url(#{colour})'/>"
        )

    def cells(self, x: int, y: int, states: str, first: int) -> None:
        """Draw messages in a row: `s` settled, `p` pending, `f` in flight."""
        for number, state in enumerate(states):
            left = x + number * 40
            fill, edge = {"s": ("box", "line"), "p": ("spool", "spool"), "f": ("ok", "ok")}[state]
            self._parts.append(
                f"<rect x='{left}' y='{y}' width='36' height='28' rx='5' fill='{self._colours[fill]}'"
                f" fill-opacity='{1 if state == 's' else 0.25}' stroke='{self._colours[edge]}' stroke-width='1.5'/>"
            )
            self.text(left + 18, y + 19, str(first + number), size=12, colour="soft" if state == "s" else "ink")

    def drum(self, x: int, y: int, width: int, height: int) -> None:
        """Draw a store."""
        colour, half = self._colours["spool"], width / 2
        self._parts.append(
            f"<path d='M{x} {y + 14}a{half} 14 0 0 1 {width} 0v{height - 28}a{half} 14 0 0 1 -{width} 0z'"
            f" fill='{colour}' fill-opacity='.12' stroke='{colour}' stroke-width='2'/>"
            f"<path d='M{x} {y + 14}a{half} 14 0 0 0 {width} 0' fill='none' stroke='{colour}' stroke-width='2'/>"
        )

    def svg(self) -> str:
        """Return the whole picture."""
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def walk(colours: dict[str, str]) -> str:
    """Draw the path of a message from a broker to the services."""
    title = "A message is stored in the spool, acknowledged to the broker, and delivered to each sink from its own position"
    d = Drawing(980, 372, title, colours)
    d.box(4, 120, 132, 76, "MQTT broker", note="HTTP, queues")
    d.box(180, 120, 96, 76, "source")
    d.box(322, 120, 96, 76, "intake", note="route, gather")
    d.arrow("M136 158H176")
    d.arrow("M276 158H318")
    d.arrow("M418 158H466")
    d.drum(470, 62, 120, 192)
    d.text(530, 140, "spool", weight=600, colour="spool", size=17)
    d.text(530, 162, "one log", colour="soft", size=13)
    d.text(530, 180, "on disk", colour="soft", size=13)
    d.arrow("M530 254C530 318 400 318 240 318S70 300 70 200", colour="ok", dashed=True)
    d.text(300, 306, "acknowledge, after the commit", colour="ok", weight=600)
    rows = (
        (20, "sink A", "Amazon S3", "delivered", "ok"),
        (124, "sink B", "HTTP", "delivered", "ok"),
        (228, "sink C", "Event Hubs", "away: waits", "bad"),
    )
    for y, sink, service, state, colour in rows:
        d.arrow(f"M590 158C625 158 620 {y + 34} 652 {y + 34}", colour="spool")
        d.box(656, y, 142, 68, sink, note="steps, batch, retry")
        d.arrow(f"M798 {y + 34}H842", colour=colour, dashed=colour == "bad")
        d.box(846, y, 124, 68, service, note=state, edge=colour)
    d.arrow("M727 296V322", colour="line")
    d.box(638, 324, 178, 40, "dead letters")
    d.text(530, 44, "each sink reads from its own position", colour="soft", size=13)
    return d.svg()


def position(colours: dict[str, str]) -> str:
    """Draw positions as pending ranges over one log."""
    title = "One log, and the position of three sinks as ranges of sequences that are pending"
    d = Drawing(860, 306, title, colours)
    d.text(10, 30, "log", weight=600, anchor="start")
    d.cells(150, 12, "s" * 12, 101)
    d.arrow("M640 26H700")
    d.text(750, 31, "appended", colour="soft", size=13)
    rows = (
        (70, "archive", "ssssssssssff", "keeps up: pending 111 to the end"),
        (140, "search", "sssspppppppp", "its service is away: pending 105 to the end"),
        (210, "alerts", "ssppppppssff", "live first: pending 103-108 and 111 to the end"),
    )
    for y, sink, states, note in rows:
        d.text(10, y + 19, sink, weight=600, anchor="start")
        d.cells(150, y, states, 101)
        d.text(150, y + 46, note, colour="soft", size=13, anchor="start")
    d.cells(150, 272, "s", 1)
    d.text(196, 291, "settled", colour="soft", size=13, anchor="start")
    d.cells(270, 272, "p", 2)
    d.text(316, 291, "pending", colour="soft", size=13, anchor="start")
    d.cells(400, 272, "f", 3)
    d.text(446, 291, "in flight", colour="soft", size=13, anchor="start")
    return d.svg()


DIAGRAMS = {"walk": walk, "position": position}


def drawn() -> dict[str, str]:
    """Return every file by its name."""
    return {f"{name}-{theme}.svg": draw(colours) for name, draw in DIAGRAMS.items() for theme, colours in THEMES.items()}


if __name__ == "__main__":
    for name, text in drawn().items():
        (ASSETS / name).write_text(text)
