"""Compresses whole objects; the result is identical at every retry."""

from __future__ import annotations

import zlib
from typing import Literal

import zstandard

Compression = Literal["none", "gzip", "zstd"]
"""Compression of an object."""

_SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_GZIP_FORMAT = 31  # zlib's window bits for a gzip header; it carries no time and no name, so equal input gives equal bytes


def infer_compression(key: str) -> Compression:
    """Return the compression for the extension of a key or file name: `.gz` is gzip, `.zst` is zstd, any other is none."""
    return next((compression for suffix, compression in _SUFFIXES.items() if key.endswith(suffix)), "none")


def compress(data: bytes, compression: Compression) -> bytes:
    """Compress `data` into one gzip member or one zstd frame; equal data gives equal bytes."""
    if compression == "gzip":
        compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
        return compressor.compress(data) + compressor.flush()
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(data)
    return data


def content_encoding(compression: Compression) -> str | None:
    """Return the HTTP `Content-Encoding` of a compressed object; `None` if it is not compressed."""
    return None if compression == "none" else compression
