"""Record a real run of the demo as an animated picture: `python docs/.site/recording.py` writes docs/assets/demo.svg.

The demo runs in a pseudo-terminal; what it writes is replayed into a screen of lines, and the screens become frames.
"""  # noqa: INP001  (a script)

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).parents[1] / "assets" / "demo.svg"
SECONDS, COLUMNS, ROWS = 10, 92, 18
CHARACTER, LINE, MARGIN = 8.4, 19, 16
TITLE = "$ make demo SECONDS=10"
SEQUENCE = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)|\x1b.")


class Screen:
    """Lines of a terminal, as far as the demo's output needs them: cursor up, erase, and text."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Write what a program has written."""
        for numbers, letter, returned, newline, plain in SEQUENCE.findall(text):
            if letter == "A":
                self._row = max(0, self._row - int(numbers or 1))
            elif letter == "K":
                self.lines[self._row] = "" if numbers == "2" else self.lines[self._row][: self._column]
            elif returned:
                self._column = 0
            elif newline:
                self._row, self._column = self._row + 1, 0
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif plain:
                before = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = before[: self._column] + plain + before[self._column + len(plain) :]
                self._column += len(plain)


def run() -> list[list[str]]:
    """Run the demo; returns its screen about once a second, and at its end."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(ROWS), "NO_COLOR": "1"}
    command = [str(Path(sys.executable).with_name("edgerouter")), "demo", "--seconds", str(SECONDS)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:  # noqa: S603  (the demo of this environment)
        os.close(slave)
        screen, frames, due = Screen(), [], time.monotonic()
        pending = b""
        while True:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    pending += os.read(master, 1 << 16)
                except OSError:
                    break
                text = pending.decode(errors="ignore")
                pending = b""
                screen.feed(text)
            elif process.poll() is not None:
                break
            if time.monotonic() >= due and any(screen.lines):
                frames.append(list(screen.lines))
                due = time.monotonic() + 1
        frames += [list(screen.lines)] * 4
        if process.wait() != 0:
            raise SystemExit("the demo failed: no recording is made of it")
    return frames


def wrapped(lines: list[str]) -> list[str]:
    """Break lines at the width of the terminal."""
    return [line[at : at + COLUMNS] for line in lines for at in range(0, max(len(line), 1), COLUMNS)][-ROWS:]


def drawn(frames: list[list[str]]) -> str:
    """Return the frames as one picture that shows them in turn, and the last one where motion is not wanted."""
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), (ROWS + 1) * LINE + 2 * MARGIN
    share = 100 / len(frames)
    groups = []
    for number, frame in enumerate(frames):
        texts = "".join(
            f"<text x='{MARGIN}' y='{MARGIN + (row + 2) * LINE}'>{escape(line.rstrip())}</text>"
            for row, line in enumerate(wrapped(frame))
            if line.strip()
        )
        groups.append(f"<g class='f' style='animation-delay:{number}s'>{texts}</g>")
    groups[-1] = groups[-1].replace("class='f'", "class='f last'")
    style = (
        f"text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d7dce6;white-space:pre}}"
        f".f{{visibility:hidden;animation:s {len(frames)}s step-end infinite}}"
        f"@keyframes s{{0%{{visibility:visible}}{share:.3f}%{{visibility:hidden}}}}"
        "@media (prefers-reduced-motion:reduce){.f{animation:none}.last{visibility:visible}}"
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' aria-label='Ten seconds of the demo'>"
        f"<title>Ten seconds of the demo</title><style>{style}</style><rect width='100%' height='100%' rx='10' fill='#161b26'/>"
        f"<text x='{MARGIN}' y='{MARGIN + LINE // 2 + 4}' style='fill:#8c9eff'>{TITLE}</text>\n" + "\n".join(groups) + "\n</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(drawn(run()), "utf-8")
