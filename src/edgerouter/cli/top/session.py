"""The session at the screen: keys change the view, looks change the numbers, and both draw it anew."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from edgerouter.admin.client import Client, NoRouter
from edgerouter.cli.output import shown
from edgerouter.cli.top.columns import cropped
from edgerouter.cli.top.details import details, keys
from edgerouter.cli.top.history import History
from edgerouter.cli.top.looking import Looking
from edgerouter.cli.top.overview import body, head
from edgerouter.cli.top.terminal import Ended, Terminal
from edgerouter.cli.top.view import MOST_FILTER, ORDERS, Question, View

_REDRAW_SECONDS: Final = 1.0
"""Ages on the screen grow without news."""
_LATE_SECONDS: Final = 3.0
"""Time for an answer; after it the numbers on the screen are marked as old."""
_FOOT_DETAILS: Final = "q quit  ? keys  escape back  up, down scroll  p pause"
_FOOT: Final = "q quit  ? keys  enter details  s sort  / filter  p pause  space hold"


def run(client: Client, folder: str, interval: float, seconds: float | None) -> None:
    """Show a router until a key or a signal ends it, or for so many seconds.

    Raises:
        NoRouter: none was there in so many seconds.
    """
    terminal = Terminal()
    session = Session(client, folder, interval, terminal)
    try:
        with terminal.opened(), session.looking.running():
            session.loop(seconds)
    except Ended as ended:
        if ended.number != signal.SIGINT:
            os.kill(os.getpid(), ended.number)  # its handler is the one from before
    except OSError as error:
        if error.errno != errno.EIO:  # the terminal is gone
            raise
        return
    if seconds is not None and session.view.look is None and session.view.error:
        raise NoRouter(session.view.error)


class Session:
    """One session.

    Args:
        client: of the router.
        folder: of its spool, for people.
        interval: seconds between two looks.
        terminal: that is drawn on.
    """

    def __init__(self, client: Client, folder: str, interval: float, terminal: Terminal) -> None:
        self._terminal = terminal
        self._console = Console(markup=False, emoji=False, highlight=False)
        self._ended = False
        self.looking = Looking(client, interval, terminal.wake)
        self.view = View(History(), shown(folder))

    def loop(self, seconds: float | None) -> None:
        """Draw and obey until the end."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._ended:
            self._draw()
            left = _REDRAW_SECONDS if until is None else min(_REDRAW_SECONDS, until - time.monotonic())
            if left <= 0:
                return
            for key in self._terminal.wait(left):
                self.press(key)

    def _take(self) -> None:
        """Take the latest look."""
        view, look = self.view, self.looking.latest
        view.said = self.looking.said
        if look is None or view.frozen:
            return
        asked = self.looking.asked_at
        late = asked is not None and time.monotonic() - asked > _LATE_SECONDS
        view.error = "the router hangs, or is busy" if late else look.error
        if look.status is not None and look is not view.look:
            view.look = look
            view.history.add(look.at, look.status)
        view.events = tuple(self.looking.events)

    def _draw(self) -> None:
        width, lines = self._terminal.size
        self._console.width = width
        try:
            self._take()
            drawn = self.lines(width, lines)
        except (KeyError, TypeError) as error:
            text = f"The router is of another version than this command, and its answer cannot be shown: {error!r}. q ends."
            drawn = [cropped(Text(shown(text), "red"), width)]
        self._terminal.draw([self._ansi(line) for line in drawn])

    def lines(self, width: int, lines: int) -> list[Text]:
        """Return the lines of the screen, each at most as wide as it is."""
        view = self.view
        top = head(view, width)
        room = max(0, lines - len(top) - 1)
        if view.page == "sinks":
            middle = body(view, width, room)
        else:
            whole = keys(self._console, width) if view.page == "help" else details(view, self._console, width)
            view.scroll = max(0, min(view.scroll, len(whole) - (room - 1)))
            middle = [Text(), *(cropped(line, width) for line in whole[view.scroll :])]
        if view.error and view.look is not None:
            middle = [Text(line.plain, "dim") for line in middle]
        middle = (middle + [Text()] * room)[:room]
        return [*top, *middle, cropped(self._foot(), width)][:lines]

    def _foot(self) -> Text:
        view = self.view
        if view.question is not None:
            operation = "Pause" if view.question.operation == "pause" else "Resume"
            rest = "its messages wait in the spool" if operation == "Pause" else "it delivers again"
            return Text(f"{operation} {view.question.sink}? Then {rest}. y = yes, any other key = no", "bold yellow")
        if view.typing:
            return Text(f"filter: {view.filter}_  (enter keeps it, escape clears it)", "bold")
        parts = [view.said] if view.said else []
        parts += [f"filter: {view.filter}"] if view.filter else []
        parts += [f"sorted by {ORDERS[view.order][0]}"] if view.order else []
        parts += ["the router was restarted"] if view.restarted else []
        return Text("  ".join([*parts, _FOOT if view.page == "sinks" else _FOOT_DETAILS]), "dim")

    def _ansi(self, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", no_wrap=True, overflow="crop", crop=True)
        return capture.get()

    def press(self, key: str) -> None:
        """Obey a key."""
        if key == "redraw":
            self._terminal.redraw()
        elif self.view.question is not None:
            self._answer(key)
        elif self.view.typing:
            self._type(key)
        elif key in _COMMANDS:
            self.looking.said = ""
            _COMMANDS[key](self)
        self.looking.with_events = self.view.page == "details"

    def _answer(self, key: str) -> None:
        question, self.view.question = self.view.question, None
        if question is not None and key in ("y", "Y"):
            self.looking.order(question.operation, question.sink)

    def _type(self, key: str) -> None:
        view = self.view
        if key in ("enter", "escape"):
            view.typing = False
            view.filter = "" if key == "escape" else view.filter
        elif key == "backspace":
            view.filter = view.filter[:-1]
        elif len(key) == 1 and len(view.filter) < MOST_FILTER:
            view.filter += key

    def quit(self) -> None:
        """End the session."""
        self._ended = True

    def move(self, steps: int) -> None:
        """Select another sink, or scroll."""
        if self.view.page == "sinks":
            self.view.move(steps)
        else:
            self.view.scroll = max(0, self.view.scroll + steps)

    def open_details(self) -> None:
        """Show the selected sink."""
        if self.view.page == "sinks" and self.view.selected:
            self.view.page, self.view.scroll = "details", 0

    def back(self) -> None:
        """Show all sinks; there, clear the filter."""
        if self.view.page == "sinks":
            self.view.filter = ""
        self.view.page = "sinks"

    def help(self) -> None:
        """Show the keys, or the sinks again."""
        self.view.page, self.view.scroll = ("sinks" if self.view.page == "help" else "help"), 0

    def sort(self) -> None:
        """Sort by the next column."""
        self.view.order = (self.view.order + 1) % len(ORDERS)

    def reverse(self) -> None:
        """Reverse the order."""
        self.view.reverse = not self.view.reverse

    def hold(self) -> None:
        """Hold the numbers as they are, or release them."""
        self.view.frozen = not self.view.frozen

    def ask(self) -> None:
        """Ask whether to pause or resume the selected sink."""
        view = self.view
        sink = (view.status or {"sinks": {}})["sinks"].get(view.selected)
        if sink is not None and not view.error and view.page != "help":
            view.question = Question("resume" if sink["state"] == "paused" else "pause", view.selected)

    def filter(self) -> None:
        """Type a filter."""
        self.view.page, self.view.typing = "sinks", True


_COMMANDS: Final[dict[str, Callable[[Session], None]]] = {
    "q": Session.quit,
    "Q": Session.quit,
    "up": lambda session: session.move(-1),
    "k": lambda session: session.move(-1),
    "down": lambda session: session.move(1),
    "j": lambda session: session.move(1),
    "page up": lambda session: session.move(-10),
    "page down": lambda session: session.move(10),
    "home": lambda session: session.move(-1_000_000),
    "end": lambda session: session.move(1_000_000),
    "enter": Session.open_details,
    "right": Session.open_details,
    "escape": Session.back,
    "left": Session.back,
    "?": Session.help,
    "h": Session.help,
    "s": Session.sort,
    "S": Session.reverse,
    "/": Session.filter,
    "p": Session.ask,
    " ": Session.hold,
}
