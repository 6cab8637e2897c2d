"""Every error that edgerouter raises, grouped by what happens next.

```
EdgerouterError
├── ConfigurationError          the router does not start: one line per problem, exit code 2
│   └── PluginError             a plugin is missing, broken, or installed twice
├── Unavailable                 a source is opened again, the same messages are written again, after a back-off, for ever
│   ├── Throttled               ... and the service asked for less: wait longer, send less at once
│   └── Unauthorized            ... and an operator must act: credentials, permission, or a missing destination
│       └── SecretMissing       ... the secret store has no secret of that name
├── Rejected                    this message goes to the dead letters, the others go on
│   └── WouldLoop               ... it is dropped and counted instead, because it would only come back
└── SpoolError                  the spool cannot do what was asked
    ├── SpoolFull               no room: `on_full` decides, or the disk has no space; goes on when there is room
    ├── SpoolReadOnly           the file system takes no writes just now; goes on when it does
    └── SpoolUnusable           not a spool of ours, locked by another router, or of a newer version: exit code 2

BadInput                        a step cannot read a message, or compute with it: its `on_error` decides
```

Any other exception out of a plugin is a bug in the plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Final

LONGEST_WAIT: Final = 3600.0
"""Seconds."""


class EdgerouterError(Exception):
    """The root of the tree above."""


class ConfigurationError(EdgerouterError):
    """The configuration cannot be used.

    Args:
        problems: one complete line each, such as `edgerouter.yaml:7:22: sinks.alerts.batch.linger: not a duration`.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class PluginError(ConfigurationError):
    """A plugin that the configuration names is missing, broken, or installed twice."""


class Unavailable(EdgerouterError):
    """The other side does not work now: network, 5xx, time-out. Nothing is lost; the router tries again.

    Args:
        reason: what is broken, for the operator; never holds a secret.
        retry_after: seconds that the service asked to wait, where it told. At most an hour of it counts: a date that is read
            with a clock in 1970, or a number by mistake, would silence the sink for years.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = None if retry_after is None or isnan(retry_after) else min(max(0.0, retry_after), LONGEST_WAIT)


class Throttled(Unavailable):
    """The service asks for less: 429, ServerBusy, SlowDown, an exhausted quota."""


class Unauthorized(Unavailable):
    """401, 403, 404: an expired key, a missing permission, a deleted destination. The operator must act; nothing is lost."""


class SecretMissing(Unauthorized):
    """The secret store answers that it has no such secret; another one may have it."""


class Rejected(EdgerouterError):
    """The service will never take this message: too large, malformed, not allowed there."""


class WouldLoop(Rejected):
    """This sink must not send the message: it came from there, or would come back for ever."""


class SpoolError(EdgerouterError):
    """The spool cannot do what was asked."""


class SpoolFull(SpoolError):
    """There is no room: the spool's own bound, the free-space guard, or the disk itself (ENOSPC)."""


class SpoolReadOnly(SpoolError):
    """The file system takes no writes just now."""


class SpoolUnusable(SpoolError):
    """The folder holds something else, is in use by another router, cannot be written, or is of a newer version."""


class BadInput(Exception):
    """A step cannot read a message, or compute with it.

    Args:
        reason: one of few texts, because it is counted: `not JSON`, `not CBOR`, `missing field`, `wrong type`, `out of range`,
            `too large`.
        detail: names the field and the value.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
