"""Object keys, framing and compression: functions for sinks that write objects or files, without a base class."""

from edgerouter.objects.compression import Compression, compress, content_encoding, infer_compression
from edgerouter.objects.framing import Framing, content_type, encode, size_of, sizes_of
from edgerouter.objects.keys import KeyTemplate, ObjectKey

__all__ = [
    "Compression",
    "Framing",
    "KeyTemplate",
    "ObjectKey",
    "compress",
    "content_encoding",
    "content_type",
    "encode",
    "infer_compression",
    "size_of",
    "sizes_of",
]
