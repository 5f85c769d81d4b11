"""What is looked for in blocks is encoded once, and never forgotten while it is asked for."""

from __future__ import annotations

from chains.bitcoin.watch import Keys, Watched


def test_keys_contain_exact_bytes_and_nothing_shorter() -> None:
    keys = Keys([b"\x00\x14" + bytes(20)])
    keys.add([b"\x51"])
    assert b"\x00\x14" + bytes(20) in keys
    assert b"\x51" in keys
    assert b"\x00\x14" + bytes(19) not in keys
    assert b"" not in keys
    assert len(keys) == 2


def test_a_text_is_encoded_once_however_often_it_is_asked_for() -> None:
    encoded: list[str] = []

    def encode(text: str) -> bytes:
        encoded.append(text)
        return text.encode()

    watched = Watched(encode)
    many = frozenset(f"address {number}" for number in range(100))
    for asked in (many, frozenset(["other"]), many | {"new"}, list(many), {"other"}):
        keys = watched.keys_of(asked)
        assert all(text.encode() in keys for text in asked)
    assert sorted(encoded) == sorted(many | {"other", "new"})


def test_coins_that_nobody_asks_for_any_more_are_forgotten_at_times() -> None:
    watched = Watched(str.encode, may_forget=True)
    watched.keys_of([f"coin {number}" for number in range(20_000)])
    keys = watched.keys_of(["coin 1"])
    assert b"coin 1" in keys
    assert len(keys) < 20_000
