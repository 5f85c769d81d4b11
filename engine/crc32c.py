"""CRC32C (Castagnoli), as in RFC 3720: the checksum of journal blocks and snapshot headers.

By Google's library, which uses the processor's own instruction. The same sum in readable Python is
the twin that the tests hold against it.
"""

from __future__ import annotations

import google_crc32c

if google_crc32c.implementation != "c":
    raise ImportError("google-crc32c came without its compiled part: a journal needs that")


def crc32c(data: bytes) -> int:
    """Return the checksum of data."""
    checksum: int = google_crc32c.value(data)
    return checksum
