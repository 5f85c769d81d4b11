"""What calls and balances of one transaction say together: inner calls, lookups, fees, lies."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV1
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from chains.base import NATIVE, Payment
from chains.incoming import UNEXPLAINED
from chains.solana import programs
from chains.solana.address import encode58, to_text
from chains.solana.blocks import Contents, IncompleteBlock, read_contents, read_told
from chains.solana.payments import Watch, plan_payments
from core.errors import Unavailable

PAYER = Keypair.from_seed(bytes([1] * 32))
BOB, CAROL, ROUTER, MINT, SOURCE = (Pubkey(bytes([n]) * 32) for n in (2, 3, 4, 5, 6))
SYSTEM, TOKEN = Pubkey(bytes(32)), Pubkey(programs.TOKEN)
BOBS = Pubkey(programs.token_account(bytes(BOB), bytes(MINT), programs.TOKEN))
KEYS = [PAYER.pubkey(), BOB, CAROL, SOURCE, BOBS, MINT, SYSTEM, TOKEN, ROUTER]
"""In the order that the message below has them."""
PLACE = {key: place for place, key in enumerate(KEYS)}
START = 10**9


def lamports(tag: int, amount: int) -> bytes:
    return tag.to_bytes(4, "little") + amount.to_bytes(8, "little")


def tokens(tag: int, amount: int, rest: bytes = b"") -> bytes:
    return bytes((tag,)) + amount.to_bytes(8, "little") + rest


def inner(program: Pubkey, accounts: Sequence[Pubkey], data: bytes) -> dict[str, Any]:
    return {
        "programIdIndex": PLACE[program],
        "accounts": [PLACE[key] for key in accounts],
        "data": encode58(data),
        "stackHeight": 2,
    }


def block(
    calls: Sequence[tuple[Pubkey, Sequence[Pubkey], bytes]] = (),
    *,
    inside: dict[int, list[dict[str, Any]]] | None = None,
    gained: dict[Pubkey, int] | None = None,
    held: dict[Pubkey, tuple[int, int]] | None = None,
    err: object = None,
    owner: Pubkey = BOB,
) -> Contents:
    """Return a block of one transaction, in the newest version, with every key of KEYS."""
    head = Instruction(ROUTER, b"", [AccountMeta(key, False, True) for key in KEYS[1:5]]
                       + [AccountMeta(key, False, False) for key in KEYS[5:8]])  # fmt: skip
    steps = [
        Instruction(program, data, [AccountMeta(key, False, False) for key in accounts])
        for program, accounts, data in calls
    ]
    message = MessageV1.try_compile(PAYER.pubkey(), [head, *steps], Hash(bytes([7] * 32)))
    order = list(message.account_keys)
    assert set(order) == set(KEYS)
    renamed = {PLACE[key]: place for place, key in enumerate(order)}
    before = dict.fromkeys(order, START)
    after = {key: START + (gained or {}).get(key, 0) for key in order}
    after[PAYER.pubkey()] -= 5_000
    balances = [
        [
            {
                "accountIndex": order.index(account), "mint": str(MINT), "owner": str(owner),
                "programId": str(TOKEN), "uiTokenAmount": {"amount": str(pair[side])},
            }
            for account, pair in (held or {}).items()
        ]
        for side in (0, 1)
    ]  # fmt: skip
    groups = [
        {
            "index": place,
            "instructions": [
                {**one, "programIdIndex": renamed[one["programIdIndex"]],
                 "accounts": [renamed[each] for each in one["accounts"]]}
                for one in made
            ],
        }
        for place, made in (inside or {}).items()
    ]  # fmt: skip
    raw = bytes(VersionedTransaction(message, [PAYER]))
    return read_contents(
        9,
        {
            "blockhash": to_text(bytes([9] * 32)), "previousBlockhash": to_text(bytes([8] * 32)),
            "parentSlot": 8, "blockTime": 1_700_000_000,
            "transactions": [
                {
                    "version": 1,
                    "transaction": [base64.b64encode(raw).decode(), "base64"],
                    "meta": {
                        "err": err, "fee": 5_000,
                        "preBalances": [before[key] for key in order],
                        "postBalances": [after[key] for key in order],
                        "preTokenBalances": balances[0], "postTokenBalances": balances[1],
                        "innerInstructions": groups,
                        "loadedAddresses": {"writable": [], "readonly": []},
                    },
                }
            ],
        },
    )  # fmt: skip


def found(contents: Contents, *watched: Pubkey) -> list[Payment]:
    watch = Watch()
    watch.follow(frozenset(str(key) for key in watched or (BOB,)))
    plain, arrivals = plan_payments(contents, watch)
    return [*plain, *(each.payment for each in arrivals)]


def test_inner_calls_are_payments_under_their_path_in_the_newest_version() -> None:
    paid = inner(SYSTEM, [CAROL, BOB], lamports(2, 40))
    contents = block(inside={0: [inner(ROUTER, [], b""), paid]}, gained={BOB: 40, CAROL: -40})
    (payment,) = found(contents)
    assert (payment.position, payment.amount, payment.claimed) == ("0.1", 40, 40)
    assert (payment.asset_key, payment.from_address) == (NATIVE, str(CAROL))
    assert found(contents, CAROL) == []


def test_an_outer_and_an_inner_payment_are_two() -> None:
    outer = (SYSTEM, [CAROL, BOB], lamports(2, 1))
    within = inner(SYSTEM, [CAROL, BOB], lamports(2, 2))
    contents = block([outer], inside={0: [within]}, gained={BOB: 3, CAROL: -3})
    assert {(one.position, one.amount) for one in found(contents)} == {("1", 1), ("0.0", 2)}


def test_D10_what_failed_pays_nobody_whatever_its_balances_say() -> None:
    paid = inner(SYSTEM, [CAROL, BOB], lamports(2, 40))
    failed = block(inside={0: [paid]}, gained={BOB: 40}, err={"InstructionError": [0, "x"]})
    assert found(failed) == []


def test_a_call_that_says_more_than_the_balance_delivers_less() -> None:
    paid = inner(SYSTEM, [CAROL, BOB], lamports(2, 40))
    for really, anomaly in ((39, "delivered_less"), (0, "not_delivered"), (-5, "not_delivered")):
        (payment,) = found(block(inside={0: [paid]}, gained={BOB: really}))
        assert (payment.amount, payment.claimed) == (max(0, really), 40)
        assert payment.anomaly == anomaly


def test_D05_a_gain_that_no_call_names_is_told_apart() -> None:
    paid = inner(SYSTEM, [CAROL, BOB], lamports(2, 40))
    first, second = found(block(inside={0: [paid]}, gained={BOB: 45}))
    assert (first.amount, first.anomaly) == (40, None)
    assert (second.amount, second.claimed, second.anomaly) == (5, 0, UNEXPLAINED)
    assert second.position.startswith("balance:")


def test_what_a_wallet_pays_in_the_same_transaction_does_not_hide_what_it_gets() -> None:
    moves = [
        inner(SYSTEM, [CAROL, BOB], lamports(2, 40)),
        inner(SYSTEM, [BOB, CAROL], lamports(2, 100)),
    ]
    (payment,) = found(block(inside={0: moves}, gained={BOB: -60, CAROL: 60}))
    assert (payment.amount, payment.anomaly) == (40, None)


@pytest.mark.parametrize(
    ("data", "accounts"),
    [
        (tokens(3, 50), [SOURCE, BOBS, CAROL]),
        (tokens(12, 50, b"\x06"), [SOURCE, MINT, BOBS, CAROL]),
        (bytes((26,)) + tokens(1, 50, bytes(9)), [SOURCE, MINT, BOBS, CAROL]),
        (tokens(7, 50), [MINT, BOBS, CAROL]),
        (tokens(14, 50, b"\x06"), [MINT, BOBS, CAROL]),
    ],
    ids=["transfer", "transferChecked", "transferCheckedWithFee", "mintTo", "mintToChecked"],
)
def test_every_way_to_move_tokens_is_read_outside_and_inside(
    data: bytes, accounts: list[Pubkey]
) -> None:
    for contents, path in (
        (block([(TOKEN, accounts, data)], held={BOBS: (5, 55)}), "1"),
        (block(inside={0: [inner(TOKEN, accounts, data)]}, held={BOBS: (5, 55)}), "0.0"),
    ):
        (payment,) = found(contents)
        assert (payment.position, payment.asset_key) == (path, str(MINT))
        assert (payment.amount, payment.claimed, payment.anomaly) == (50, 50, None)


def test_D06_a_fee_that_is_withheld_is_netted() -> None:
    data = tokens(12, 100, b"\x06")
    contents = block([(TOKEN, [SOURCE, MINT, BOBS, CAROL], data)], held={BOBS: (0, 98)})
    (payment,) = found(contents)
    assert (payment.amount, payment.claimed, payment.anomaly) == (98, 100, "delivered_less")


def test_tokens_that_a_call_not_read_here_brought_did_arrive() -> None:
    (payment,) = found(block([(TOKEN, [BOBS], b"\xff")], held={BOBS: (5, 9)}))
    assert (payment.amount, payment.claimed, payment.anomaly) == (4, 4, None)


def test_D11_tokens_in_another_account_of_ours_are_worth_nothing() -> None:
    data = tokens(3, 50)
    contents = block([(TOKEN, [CAROL, SOURCE, CAROL], data)], held={SOURCE: (0, 50)})
    (payment,) = found(contents)
    assert (payment.amount, payment.claimed, payment.anomaly) == (0, 50, "other_account")


def test_a_transaction_without_us_is_not_looked_at() -> None:
    stranger = Pubkey(bytes([77]) * 32)
    assert found(block(gained={BOB: 40}), stranger) == []


def test_long_data_and_calls_cut_short_move_nothing_and_hide_nothing() -> None:
    for data in (b"", b"\x02", lamports(2, 40)[:-1], bytes(600), lamports(99, 40)):
        calls = [inner(SYSTEM, [CAROL, BOB], data), inner(TOKEN, [SOURCE, BOBS], data)]
        (payment,) = found(block(inside={0: calls}, gained={BOB: 40}))
        assert (payment.amount, payment.anomaly) == (40, UNEXPLAINED)


def test_what_does_not_fit_the_transaction_is_never_read() -> None:
    for bad in (
        {**inner(SYSTEM, [CAROL, BOB], b""), "programIdIndex": 99},
        {**inner(SYSTEM, [], b""), "accounts": [255]},
        {**inner(SYSTEM, [], b""), "data": "0OIl"},
        {**inner(SYSTEM, [], b""), "data": None},
    ):
        contents = block(gained={BOB: 40})
        meta: Any = contents.entries[0].meta
        meta["innerInstructions"] = [{"index": 0, "instructions": [bad]}]
        with pytest.raises(Unavailable):
            found(contents)
    contents = block(gained={BOB: 40})
    changed: Any = contents.entries[0].meta
    changed["innerInstructions"] = [{"index": 5, "instructions": []}]
    with pytest.raises(IncompleteBlock):
        found(contents)


def test_the_same_contents_have_the_same_fingerprint_and_others_have_not() -> None:
    paid = inner(SYSTEM, [CAROL, BOB], lamports(2, 40))
    one = block(inside={0: [paid]}, gained={BOB: 40})
    assert one == block(inside={0: [paid]}, gained={BOB: 40})
    for other in (
        block(inside={0: [paid]}, gained={BOB: 41}),
        block(gained={BOB: 40}),
        block(inside={0: [paid]}, gained={BOB: 40}, err="x"),
        block(inside={0: [paid]}, gained={BOB: 40}, held={BOBS: (0, 1)}),
        block([(SYSTEM, [CAROL], b"")], inside={0: [paid]}, gained={BOB: 40}),
    ):
        assert one != other


def test_a_block_cannot_follow_itself_or_come_before_its_parent() -> None:
    good = {
        "blockhash": to_text(bytes([9] * 32)), "previousBlockhash": to_text(bytes([8] * 32)),
        "parentSlot": 8, "blockTime": 1,
    }  # fmt: skip
    assert read_told(9, good).parent_slot == 8
    for change in (
        {"parentSlot": 9}, {"parentSlot": 10}, {"parentSlot": -1}, {"parentSlot": "8"},
        {"previousBlockhash": good["blockhash"]}, {"blockhash": "x"}, {"blockTime": None},
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            read_told(9, {**good, **change})
    with pytest.raises(Unavailable):
        read_told(1 << 20, good)
