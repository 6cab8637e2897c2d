"""Address of a queue, from its name, URL or ARN."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_URL = re.compile(r"https?://(?P<host>[^/]+)/(?P<account>[^/]+)/(?P<name>[^/]+)/?")
_ARN = re.compile(r"arn:[^:]+:sqs:(?P<region>[^:]+):(?P<account>\d{12}):(?P<name>[^:]+)")
_HOST = re.compile(
    r"(?P<private>[^.]+\.(?=sqs\.[a-z0-9-]+\.vpce\.))?"
    r"(?:sqs[^.]*\.(?P<new>[a-z0-9-]+)|(?P<old>[a-z0-9-]+)\.queue)\.(?:vpce\.)?(?:amazonaws|api)\."
    r"|queue\.amazonaws\."
)
"""Of AWS: a region's own, the older forms, or an endpoint in a network of one's own (VPC)."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo|[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True)
class Address:
    """A queue as far as its configuration describes it."""

    name: str
    account: str | None = None
    region: str | None = None
    url: str | None = None
    endpoint: str | None = None
    """Endpoint, if the URL is not that of a region's service: a VPC endpoint, or a compatible service."""

    @property
    def fifo(self) -> bool:
        """Only the names of FIFO queues end so."""
        return self.name.endswith(".fifo")

    @classmethod
    def parse(cls, text: str, account: str | None) -> Self:
        """Read a name, URL or ARN.

        Raises:
            ValueError: it is none of them.
        """
        if match := _URL.fullmatch(text):
            host = _HOST.match(match["host"])
            region = (host["new"] or host["old"]) if host else None
            endpoint = None if host and not host["private"] else text[: match.end("host")]
            return cls(match["name"], match["account"], None if region == "queue" else region, text, endpoint)
        if match := _ARN.fullmatch(text):
            return cls(match["name"], match["account"], match["region"])
        if _NAME.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not a queue: write its name, its URL (https://sqs...) or its ARN (arn:aws:sqs:...)")
        return cls(text, account)

    def described(self, region: str | None) -> str:
        """For error texts."""
        return f"queue {self.name}" + (f" in {region}" if region else "")

    def arn(self, region: str | None) -> str:
        """Name of the queue in a policy."""
        return f"arn:aws:sqs:{region or '*'}:{self.account or '*'}:{self.name}"
