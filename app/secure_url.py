"""Which URLs may be asked; needs nothing, so that settings can be judged anywhere."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1")


def is_secure(url: str) -> bool:
    """Tell whether a URL may be asked: https, or http to this machine."""
    parts = urlsplit(url)
    if parts.username or parts.password or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
