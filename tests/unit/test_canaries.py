"""What looks for planted secrets finds them: every spelling, every frame, every chained error."""

from __future__ import annotations

import base64

import pytest

from tests.support.canaries import leaks, spellings, told

CANARY = b"canary-5ca1ab1e-0123456789"
PLANTED = {"canary": CANARY}


@pytest.mark.parametrize("prefix", [b"", b"a", b"ab", b"abc"])
def test_every_spelling_is_found(prefix: bytes) -> None:
    for data in (
        prefix + CANARY,
        (prefix + CANARY).hex().encode(),
        base64.b64encode(prefix + CANARY + b"tail"),
        base64.urlsafe_b64encode(prefix + CANARY),
        CANARY[::-1],
        repr({"a": [prefix + CANARY]}).encode(),
    ):
        assert leaks(data, PLANTED) == {"canary"}, data
    assert not leaks(prefix + CANARY[:-1], PLANTED)


def test_a_secret_too_short_to_be_told_from_chance_is_not_accepted() -> None:
    with pytest.raises(AssertionError):
        spellings(b"1234567")


PRODUCT = """
def outer(secret):
    held = [secret]
    raise ValueError("nothing")

def cause(secret):
    try:
        outer(secret)
    except ValueError as error:
        secret = held = None
        raise KeyError("nothing") from error

def context(secret):
    try:
        outer(secret)
    except ValueError:
        secret = None
        raise KeyError("nothing")

def attribute(secret):
    error = ValueError("nothing")
    error.request, secret = secret, None
    raise error

def clean(secret):
    secret = None
    raise ValueError("nothing")
"""


@pytest.mark.parametrize(
    ("name", "is_told"),
    [("outer", True), ("cause", True), ("context", True), ("attribute", True), ("clean", False)],
)
def test_an_error_tells_what_its_frames_hold(name: str, is_told: bool) -> None:
    product: dict[str, object] = {}
    exec(compile(PRODUCT, "/product/x.py", "exec"), product)
    call = product[name]
    assert callable(call)
    with pytest.raises((ValueError, KeyError)) as raised:
        call(CANARY)
    assert bool(leaks(told(raised.value), PLANTED)) is is_told
