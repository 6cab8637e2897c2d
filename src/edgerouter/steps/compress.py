"""The step `compress`: payloads as gzip, zlib or zstd."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import Final, Literal

import zstandard
from pydantic import Field

from edgerouter.item import Item
from edgerouter.objects import compress
from edgerouter.step import Step, StepConfig, StepContext
from edgerouter.steps import payloads
from edgerouter.units import ByteSize

Algorithm = Literal["gzip", "zlib", "zstd"]
_ENCODINGS: Final[dict[Algorithm, str]] = {"gzip": "gzip", "zlib": "deflate", "zstd": "zstd"}
"""Names of the algorithms in HTTP's registry of content codings."""


class CompressConfig(StepConfig):
    """Compresses each payload by itself; equal payloads give equal bytes, so that a retry sends the same.

    MQTT user properties say so: `content-encoding` is `gzip`, `deflate` (zlib) or `zstd`, as in HTTP, and with `base64`
    `content-transfer-encoding` is `base64`. Small payloads grow: where a sink compresses whole objects or requests,
    leave it to that.
    """

    algorithm: Algorithm = "gzip"
    """`gzip`, `zlib` or `zstd`."""
    base64: bool = False
    """Write the result in base64, as EdgeX does."""
    mark: bool = True
    """Add the user properties."""
    max_bytes: ByteSize = Field(default=4 * 1024**2, ge=1, le=64 * 1024**2)
    """Largest payload; a larger one counts as `too large`. All sinks wait while it is compressed, up to 40 ms for each MiB with
    `gzip` and `zlib`, 2 ms with `zstd`."""


class CompressStep(Step[CompressConfig]):
    """Compresses what `max_bytes` allows."""

    def __init__(self, config: CompressConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._compress = _function(config.algorithm)
        self._marks = [("content-encoding", _ENCODINGS[config.algorithm])] if config.mark else []
        if config.mark and config.base64:
            self._marks.append(("content-transfer-encoding", "base64"))

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._compressed)

    def _compressed(self, item: Item) -> bool:
        data = self._compress(payloads.bounded(item, self.config.max_bytes))
        if self.config.base64:
            data = base64.b64encode(data)
        payloads.replace(item, data, text=self.config.base64, content_type=None, added=self._marks)
        return True


def _function(algorithm: Algorithm) -> Callable[[bytes], bytes]:
    if algorithm == "zlib":
        return zlib.compress
    if algorithm == "gzip":
        return lambda data: compress(data, "gzip")
    return zstandard.ZstdCompressor(write_checksum=True).compress  # one for all payloads: making it costs more than a small one
