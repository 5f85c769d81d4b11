"""What reaches our addresses on a real network of slots, and what only looks like it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import spl.token.instructions as spl
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import (
    CreateAccountParams,
    TransferParams,
    TransferWithSeedParams,
    create_account,
    transfer,
    transfer_with_seed,
)
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.models import (
    ApproveParams,
    AuthorityType,
    CloseAccountParams,
    InitializeAccount3Params,
    SetAuthorityParams,
)

from chains.base import NATIVE, BlockRef
from chains.incoming import FOREIGN_AUTHORITY, POWERFUL_ISSUER, UNEXPLAINED
from core.errors import Corrupt, Unavailable
from infra.devnet.surfpool import LAMPORTS
from infra.devnet.surfpool_tokens import Powers, create_token, create_token_2022
from tests.support.slots import Net, address, key, memo, payments_at, running_net, table_of

BOB = "bob"


@pytest.fixture
def net() -> Iterator[Net]:
    with running_net() as running:
        yield running


def moving(source: Keypair, to: str, lamports: int) -> Instruction:
    target = Pubkey.from_string(to)
    return transfer(
        TransferParams(from_pubkey=source.pubkey(), to_pubkey=target, lamports=lamports)
    )


# ---- native coin ----------------------------------------------------------------------------


def test_several_payments_of_one_transaction_are_told_apart_by_their_path(net: Net) -> None:
    payer = net.node.payer
    steps = [
        moving(payer, address(BOB), LAMPORTS),
        memo(b"for nobody"),
        moving(payer, address("carol"), 2 * LAMPORTS),
        moving(payer, address(BOB), 3),
    ]
    tx_id = net.node.send(steps)
    found = net.paid(BOB, "carol")
    assert sorted((one.position, one.to_address, one.amount) for one in found) == [
        ("0", address(BOB), LAMPORTS),
        ("2", address("carol"), 2 * LAMPORTS),
        ("3", address(BOB), 3),
    ]
    for one in found:
        assert (one.tx_id, one.asset_key, one.claimed, one.anomaly) == (
            tx_id, NATIVE, one.amount, None,
        )  # fmt: skip
        assert one.from_address == str(payer.pubkey())


def test_a_payment_through_a_lookup_table_is_seen(net: Net) -> None:
    bob = Pubkey.from_string(address(BOB))
    table = table_of(net.node, [bob, key("dave").pubkey()])
    net.front.pass_slots(2)
    payer, looked_up = net.node.payer, AddressLookupTableAccount(table, [bob, key("dave").pubkey()])
    message = MessageV0.try_compile(
        payer.pubkey(), [moving(payer, address(BOB), LAMPORTS)], [looked_up], net.node.blockhash()
    )
    assert bob not in message.account_keys
    net.node.send_raw(bytes(VersionedTransaction(message, [payer])))
    (found,) = net.paid(BOB)
    assert (found.position, found.amount, found.to_address) == ("0", LAMPORTS, address(BOB))


def test_accounts_made_with_money_and_transfers_with_a_seed_are_payments(net: Net) -> None:
    payer, bob = net.node.payer, key(BOB)
    made = create_account(
        CreateAccountParams(
            from_pubkey=payer.pubkey(), to_pubkey=bob.pubkey(), lamports=LAMPORTS, space=0,
            owner=Pubkey.default(),
        )
    )  # fmt: skip
    seeded = Pubkey.create_with_seed(payer.pubkey(), "s", Pubkey.default())
    net.node.send([made, moving(payer, str(seeded), LAMPORTS)], [bob])
    (found,) = net.paid(BOB)
    assert (found.position, found.amount) == ("0", LAMPORTS)
    back = transfer_with_seed(
        TransferWithSeedParams(
            from_pubkey=seeded, from_base=payer.pubkey(), from_seed="s",
            from_owner=Pubkey.default(), to_pubkey=bob.pubkey(), lamports=LAMPORTS,
        )
    )  # fmt: skip
    net.node.send([back])
    (found,) = net.paid(BOB)
    assert (found.position, found.amount, found.from_address) == ("0", LAMPORTS, str(seeded))


def test_D05_coin_that_no_transfer_brought_is_seen_and_set_aside(net: Net) -> None:
    mallory = key("mallory")
    net.node.pay(mallory.pubkey(), LAMPORTS)
    net.token.open(mallory.pubkey())
    closing = spl.close_account(
        CloseAccountParams(
            program_id=TOKEN_PROGRAM_ID,
            account=net.token.account_of(mallory.pubkey()),
            dest=key(BOB).pubkey(),
            owner=mallory.pubkey(),
        )
    )
    net.node.send([closing], [mallory])
    (found,) = [one for one in net.paid(BOB) if one.amount]
    rent = net.node.rent(165)
    assert (found.amount, found.claimed, found.anomaly) == (rent, 0, UNEXPLAINED)


def test_a_wallet_that_pays_itself_and_others_is_credited_nothing(net: Net) -> None:
    bob = key(BOB)
    net.node.pay(bob.pubkey(), 5 * LAMPORTS)
    net.front.pass_slots()
    steps = [moving(bob, address(BOB), LAMPORTS), moving(bob, address("carol"), LAMPORTS)]
    net.node.send(steps, payer=bob)
    (found,) = net.paid(BOB, "carol")
    assert (found.to_address, found.from_address) == (address("carol"), address(BOB))


# ---- D10: included but failed ---------------------------------------------------------------


def test_D10_a_failed_transaction_pays_nobody(net: Net) -> None:
    payer = net.node.payer
    good = moving(payer, address(BOB), LAMPORTS)
    poor = key("poor")
    net.node.pay(poor.pubkey(), LAMPORTS)
    bad = moving(poor, address("carol"), 50 * LAMPORTS)
    net.node.send([good, bad], [poor], preflight=False)
    assert net.paid(BOB, "carol") == []
    assert net.chain().balance_of(address(BOB), NATIVE, net.chain().head()) == 0
    net.node.send([good])
    assert [one.amount for one in net.paid(BOB, "carol")] == [LAMPORTS]


# ---- tokens ---------------------------------------------------------------------------------


def test_tokens_of_both_programs_are_credited_in_the_derived_account(net: Net) -> None:
    for token in (net.token, net.token_2022):
        tx_id = token.pay(address(BOB), 1_000)
        (found,) = [one for one in net.paid(BOB) if one.amount]
        assert (found.tx_id, found.asset_key, found.position) == (tx_id, token.key, "0")
        assert (found.amount, found.claimed, found.anomaly) == (1_000, 1_000, None)
        assert found.from_address == str(net.node.payer.pubkey())
        net.node.send([token.minting(token.account_of(address(BOB)), 7)])
        (found,) = net.paid(BOB)
        assert (found.amount, found.from_address, found.position) == (7, None, "0")


def test_D06_the_fee_that_a_token_withholds_is_not_credited(net: Net) -> None:
    token = create_token_2022(net.node, powers=Powers(fee_bp=100))
    net.list_token(token, "FEE")
    token.pay(address(BOB), 10_000)
    (found,) = net.paid(BOB)
    assert (found.amount, found.claimed, found.anomaly) == (9_900, 10_000, "delivered_less")
    chain = net.chain()
    assert chain.balance_of(address(BOB), token.key, chain.head()) == 9_900


def test_D11_a_counterfeit_mint_is_another_asset(net: Net) -> None:
    create_token(net.node).give(address(BOB), 10**12)
    (found,) = net.paid(BOB)
    assert found.asset_key not in {one.key for one in net.listed}
    net.token.give(address(BOB), 5)
    (found,) = net.paid(BOB)
    assert (found.asset_key, found.amount) == (net.token.key, 5)


def own_account(net: Net, owner: Keypair) -> Keypair:
    """Make a token account of an owner that is not the derived one."""
    account, size = Keypair(), 165
    made = create_account(
        CreateAccountParams(
            from_pubkey=net.node.payer.pubkey(), to_pubkey=account.pubkey(),
            lamports=net.node.rent(size), space=size, owner=TOKEN_PROGRAM_ID,
        )
    )  # fmt: skip
    begun = spl.initialize_account3(
        InitializeAccount3Params(
            program_id=TOKEN_PROGRAM_ID, account=account.pubkey(), mint=net.token.mint,
            owner=owner.pubkey(),
        )
    )  # fmt: skip
    net.node.send([made, begun], [account])
    return account


def handing_over(
    account: Pubkey, owner: Keypair, to: Pubkey | None, kind: AuthorityType
) -> Instruction:
    return spl.set_authority(
        SetAuthorityParams(
            program_id=TOKEN_PROGRAM_ID, account=account, authority=kind,
            current_authority=owner.pubkey(), new_authority=to,
        )
    )  # fmt: skip


def test_D11_an_account_handed_over_to_us_is_worth_nothing(net: Net) -> None:
    mallory, bob = key("mallory"), key(BOB)
    net.node.pay(mallory.pubkey(), LAMPORTS)
    account = own_account(net, mallory)
    net.node.send([net.token.minting(account.pubkey(), 1_000)])
    kept = handing_over(account.pubkey(), mallory, mallory.pubkey(), AuthorityType.CLOSE_ACCOUNT)
    given = handing_over(account.pubkey(), mallory, bob.pubkey(), AuthorityType.ACCOUNT_OWNER)
    net.front.pass_slots()
    net.node.send([kept, given], [mallory])
    net.node.send([net.token.minting(account.pubkey(), 500)])
    found = net.paid(BOB)
    assert [(one.amount, one.claimed, one.anomaly) for one in found] == [
        (0, 1_000, "other_account"),
        (0, 500, "other_account"),
    ]
    chain = net.chain()
    assert chain.balance_of(address(BOB), net.token.key, chain.head()) == 0
    net.token.give(address(BOB), 5)
    (control,) = net.paid(BOB)
    assert (control.amount, control.anomaly) == (5, None)


@pytest.mark.parametrize("trick", ["delegate", "close authority", "frozen"])
def test_D11_what_somebody_else_may_move_is_set_aside(trick: str, net: Net) -> None:
    bob, mallory = key(BOB), key("mallory").pubkey()
    net.token.give(address(BOB), 5)
    account = net.token.account_of(address(BOB))
    if trick == "delegate":
        step = spl.approve(
            ApproveParams(
                program_id=TOKEN_PROGRAM_ID, source=account, delegate=mallory,
                owner=bob.pubkey(), amount=3,
            )
        )  # fmt: skip
        net.node.send([step], [bob])
    elif trick == "close authority":
        net.node.send([handing_over(account, bob, mallory, AuthorityType.CLOSE_ACCOUNT)], [bob])
    else:
        net.token.freeze(address(BOB))
    (found,) = net.paid(BOB)
    assert (found.amount, found.anomaly) == (5, FOREIGN_AUTHORITY)


@pytest.mark.parametrize("power", ["permanent delegate", "hook"])
def test_D11_tokens_of_a_too_powerful_issuer_are_set_aside(power: str, net: Net) -> None:
    mallory = key("mallory").pubkey()
    powers = Powers(hook=mallory) if power == "hook" else Powers(permanent_delegate=mallory)
    token = create_token_2022(net.node, powers=powers)
    net.list_token(token, "POWER")
    token.give(address(BOB), 5)
    (found,) = net.paid(BOB)
    assert (found.amount, found.anomaly) == (5, POWERFUL_ISSUER)


def test_D12_memos_change_nothing_about_who_is_credited(net: Net) -> None:
    payer = net.node.payer
    words = (
        address("carol").encode(), b"12345", "\u202e54321\u200b".encode(), b"007",
        str(2**53 + 1).encode(),
    )  # fmt: skip
    steps = [memo(text) for text in words]
    net.node.send([*steps[:2], moving(payer, address(BOB), LAMPORTS), *steps[2:]])
    (found,) = net.paid(BOB, "carol")
    assert (found.to_address, found.amount, found.position) == (address(BOB), LAMPORTS, "2")


def test_D13_payments_of_nothing_are_no_payments(net: Net) -> None:
    net.token.open(address(BOB))
    source = net.token.account_of(net.node.payer.pubkey())
    net.token.give(net.node.payer.pubkey(), 1)
    payer = net.node.payer
    target = net.token.account_of(address(BOB))
    net.node.send(
        [
            moving(payer, address(BOB), 0),
            net.token.moving(source, target, payer.pubkey(), 0),
        ]
    )
    assert net.paid(BOB) == []


# ---- slots, balances, identity --------------------------------------------------------------


def test_skipped_slots_are_links_of_the_chain_without_payments(net: Net) -> None:
    chain = net.chain()
    first = net.front.pass_slots()
    net.front.skip(3)
    net.node.pay(address(BOB), LAMPORTS)
    last = net.front.pass_slots()
    assert last == first + 4
    above = chain.block_at(last)
    assert above is not None
    assert chain.head() == above.ref
    for slot in range(last - 1, first - 1, -1):
        below = chain.block_at(slot)
        assert below is not None
        assert (below.ref.height, below.ref.hash) == (slot, above.parent_hash)
        assert below.time_s <= above.time_s
        assert chain.payments_in(below, frozenset({address(BOB)})) == ()
        above = below
    assert [one.amount for one in payments_at(chain, last, {address(BOB)})] == [LAMPORTS]
    assert chain.block_at(last + 1) is None


def test_a_balance_is_that_of_exactly_the_slot_asked_for(net: Net) -> None:
    chain, bob = net.chain(), address(BOB)
    refs, coins, tokens = [chain.head()], [0], [0]
    for step in range(1, 5):
        if step == 3:
            net.front.skip()
        net.node.pay(bob, step * LAMPORTS)
        coins.append(coins[-1] + step * LAMPORTS)
        net.token.give(bob, step)
        tokens.append(tokens[-1] + step)
        if step == 2:
            net.node.send([moving(key(BOB), address("carol"), LAMPORTS)], [key(BOB)])
            coins[-1] -= LAMPORTS
        net.front.pass_slots()
        refs.append(chain.head())
    assert [chain.balance_of(bob, NATIVE, ref) for ref in refs] == coins
    assert [chain.balance_of(bob, net.token.key, ref) for ref in refs] == tokens
    many = chain.balances_of([bob, address("nobody"), bob], NATIVE, refs[2])
    assert many == {bob: coins[2], address("nobody"): 0}


def test_a_state_too_old_or_of_no_block_is_not_told(net: Net) -> None:
    chain = net.chain()
    old = chain.head()
    net.front.pass_slots(300)
    with pytest.raises(Unavailable, match="slots old"):
        chain.balance_of(address(BOB), NATIVE, old)
    invented = BlockRef(chain.head().height, old.hash)
    with pytest.raises(Unavailable, match="unknown_block"):
        chain.balance_of(address(BOB), NATIVE, invented)


def test_a_node_of_another_network_is_corrupt(net: Net) -> None:
    net.chain().check_identity()
    net.genesis = address("elsewhere")
    with pytest.raises(Corrupt):
        net.chain().check_identity()
