"""Vectors of BIP-174, and BIP-370: what is read, what is refused, and that two libraries agree."""

from __future__ import annotations

import base64

import bdkpython as bdk
import pytest
from btclib_wallet.psbt.psbt import Psbt

from chains.bitcoin.decode import read_spend
from chains.bitcoin.psbt import read_psbt
from chains.bitcoin.tx import parse_tx
from core.errors import Reason, Refused
from tests.support.bitcoin import Wallet

# BIP-174, valid: one input of an old kind, with the transaction it comes from.
WITH_PREVIOUS = (
    "cHNidP8BAHUCAAAAASaBcTce3/KF6Tet7qSze3gADAVmy7OtZGQXE8pCFxv2AAAAAAD+////AtPf9QUAAAAAGXap"
    "FNDFmQPFusKGh2DpD9UhpGZap2UgiKwA4fUFAAAAABepFDVF5uM7gyxHBQ8k0+65PJwDlIvHh7MuEwAAAQD9pQEB"
    "AAAAAAECiaPHHqtNIOA3G7ukzGmPopXJRjr6Ljl/hTPMti+VZ+UBAAAAFxYAFL4Y0VKpsBIDna89p95PUzSe7LmF"
    "/////4b4qkOnHf8USIk6UwpyN+9rRgi7st0tAXHmOuxqSJC0AQAAABcWABT+Pp7xp0XpdNkCxDVZQ6vLNL1TU///"
    "//8CAMLrCwAAAAAZdqkUhc/xCX/Z4Ai7NK9wnGIZeziXikiIrHL++E4sAAAAF6kUM5cluiHv1irHU6m80GfWx6aj"
    "nQWHAkcwRAIgJxK+IuAnDzlPVoMR3HyppolwuAJf3TskAinwf4pfOiQCIAGLONfc0xTnNMkna9b7QPZzMlvEuqFE"
    "yADS8vAtsnZcASED0uFWdJQbrUqZY3LLh+GFbTZSYG2YVi/jnF6efkE/IQUCSDBFAiEA0SuFLYXc2WHS9fSrZgZU"
    "327tzHlMDDPOXMMJ/7X85Y0CIGczio4OFyXBl/saiK9Z9R5E5CVbIBZ8hoQDHAXR8lkqASECI7cr7vCWXRC+B3jv"
    "7NYfysb3mk6haTkzgHNEZPhPKrMAAAAAAAAA"
)
# BIP-174, invalid: the finished transaction, not the format.
BARE = (
    "AgAAAAEmgXE3Ht/yhek3re6ks3t4AAwFZsuzrWRkFxPKQhcb9gAAAABqRzBEAiBwsiRRI+a/R01gxbUMBD1MaRpd"
    "JDXwmjSnZiqdwlF5CgIgATKcqdrPKAvfMHQOwDkEIkIsgctFg5RXrrdvwS7dlbMBIQJlfRGNM1e44PTCzUbbezn2"
    "2cONmnCry5st5dyNv+TOMf7///8C09/1BQAAAAAZdqkU0MWZA8W6woaHYOkP1SGkZlqnZSCIrADh9QUAAAAAF6kU"
    "NUXm4zuDLEcFDyTT7rk8nAOUi8eHsy4TAA=="
)
HONEST = Wallet().draft().payload()


def refusal(payload: bytes) -> Reason:
    """Return why a payload is not judged any further."""
    with pytest.raises(Refused) as refused:
        read_spend(payload)
    return refused.value.reason


def test_the_first_valid_vector_of_bip_174_is_read_as_two_libraries_read_it() -> None:
    payload = base64.b64decode(WITH_PREVIOUS)
    read = read_psbt(payload)
    (told,), (spent,) = read.inputs, read.tx.inputs
    assert told.previous is not None
    assert told.previous.tx_hash == spent.outpoint.tx_hash, "the vector proves itself"
    held = told.previous.outputs[spent.outpoint.index].amount
    fee = held - sum(output.amount for output in read.tx.outputs)
    assert bdk.Psbt(WITH_PREVIOUS).fee() == fee == 301
    assert Psbt.parse(payload).tx.id.hex() == read.tx.tx_id
    assert refusal(payload) is Reason.FOREIGN_INPUT, "we have no coins of that kind"


def test_a_bare_transaction_is_not_the_format_to_anybody() -> None:
    raw = base64.b64decode(BARE)
    assert parse_tx(raw).outputs
    assert refusal(raw) is Reason.UNDECODABLE
    with pytest.raises(bdk.PsbtParseError):
        bdk.Psbt(BARE)


@pytest.mark.parametrize("end", [0, 4, 5, 6, 100, -1])
def test_no_beginning_of_a_vector_is_read(end: int) -> None:
    payload = base64.b64decode(WITH_PREVIOUS)[:end]
    assert refusal(payload) is Reason.UNDECODABLE
    with pytest.raises(bdk.PsbtParseError):
        bdk.Psbt(base64.b64encode(payload).decode())


def test_version_2_of_the_format_is_refused_by_its_name() -> None:
    """BIP-370: written by a second library from what we read; neither we nor bdk take it."""
    newer = Psbt.parse(HONEST).to_v2()
    payload = newer.serialize()
    assert refusal(payload) is Reason.UNKNOWN_VERSION
    with pytest.raises(bdk.PsbtParseError):
        bdk.Psbt(base64.b64encode(payload).decode())
    assert read_spend(newer.to_v0().serialize()) == read_spend(HONEST), "the control"
