"""What the signer asks nodes: their agreement, and answers that cannot be true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import BlockRef
from chains.bitcoin.params import NETWORKS, BitcoinParams
from chains.bitcoin.tx import parse_tx
from chains.rpc import NodesDisagree
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId
from tests.support.bitcoin import HOT, PARAMS, STRANGER, address_of, coin_of, draft_of, funding
from tests.support.coin_node import GENESIS_TIME_S, SPACING_S, CoinNode, chain_on

COIN = coin_of(funding(address_of(HOT), 5_000))
NAME = f"{COIN.tx_id}:0"
OTHER = f"{'ab' * 32}:7"
KNOWN = {COIN.tx_id: COIN.previous.hex()}


def test_the_head_is_what_a_quorum_has_reached() -> None:
    nodes = [CoinNode(height=n) for n in (10, 12, 11)]
    assert chain_on(*nodes).head().height == 11
    assert chain_on(*nodes).head().hash == nodes[1].block_hash(11)


def test_nodes_on_other_branches_have_no_head_together() -> None:
    with pytest.raises(NodesDisagree):
        chain_on(CoinNode(salt=1), CoinNode(salt=2)).head()


@pytest.mark.parametrize(("height", "final"), [(0, None), (5, None), (6, 1), (200, 195)])
def test_a_block_is_final_by_its_confirmations(height: int, final: int | None) -> None:
    found = chain_on(CoinNode(height=height)).final_head()
    assert (found and found.height) == final


def test_a_header_proves_its_hash_its_parent_and_its_time() -> None:
    node = CoinNode(height=3)
    block = chain_on(node).block_at(3)
    assert block is not None
    assert (block.ref.hash, block.parent_hash) == (node.block_hash(3), node.block_hash(2))
    assert block.time_s == GENESIS_TIME_S + 3 * SPACING_S
    assert chain_on(node).block_at(4) is None


class Liar(CoinNode):
    """A node that answers for every block with the bytes of another one."""

    def _getblockheader(self, block_hash: str, verbose: object = True) -> object:
        return self.headers()[0].hex()


class Silent(CoinNode):
    """A node that answers nothing of use."""

    def _getblockcount(self) -> object:
        return "200"

    def _getblockhash(self, _: int) -> object:
        return "0x12"

    def _gettxout(self, *_: object) -> object:
        return [1]

    def _getrawtransaction(self, tx_id: str, *_: object) -> object:
        return "zz"


def test_a_header_of_another_block_is_no_answer() -> None:
    with pytest.raises(Unavailable, match="getblockheader"):
        chain_on(Liar()).block_at(7)


def test_answers_of_another_shape_are_no_answers() -> None:
    chain = chain_on(Silent())
    for ask in (
        chain.head,
        chain.check_identity,
        lambda: chain.spent_coins([NAME], BlockRef(1, "0x12")),
        lambda: chain.tx_status(COIN.tx_id),
        lambda: chain.transaction(COIN.tx_id),
    ):
        with pytest.raises(Unavailable, match="malformed"):
            ask()


def test_a_node_of_another_network_is_noticed() -> None:
    chain_on(CoinNode(), CoinNode()).check_identity()
    with pytest.raises(Corrupt):
        chain_on(CoinNode(), CoinNode(genesis=NETWORKS["main"].genesis_hash)).check_identity()


def spent(*nodes: CoinNode, coins: tuple[str, ...] = (NAME, OTHER)) -> frozenset[str]:
    """Return what these nodes say is spent."""
    chain = chain_on(*nodes)
    return chain.spent_coins(coins, chain.head())


def test_a_coin_is_spent_when_one_node_has_it_no_more() -> None:
    there, gone = CoinNode(transactions=KNOWN), CoinNode(missing={NAME}, transactions=KNOWN)
    assert spent(there) == frozenset()
    assert spent(gone) == {NAME}
    assert spent(gone, there, there) == {NAME}
    assert spent(gone, coins=()) == frozenset()


@pytest.mark.parametrize("missing", [{OTHER}, {f"{COIN.tx_id}:1"}], ids=["transaction", "output"])
def test_a_coin_that_a_node_has_never_seen_is_no_answer(missing: set[str]) -> None:
    node = CoinNode(missing=missing, transactions=KNOWN)
    with pytest.raises(Unavailable):
        spent(node, coins=(*missing, NAME))
    assert spent(node, CoinNode(), CoinNode(), coins=(*missing, NAME)) == frozenset()


def test_a_node_without_the_block_has_no_voice() -> None:
    behind = CoinNode(height=199, missing={NAME}, transactions=KNOWN)
    elsewhere = CoinNode(salt=1, missing={NAME}, transactions=KNOWN)
    chain = chain_on(CoinNode(), CoinNode(), CoinNode(), behind, elsewhere)
    assert chain.spent_coins([NAME], chain.head()) == frozenset()
    with pytest.raises(Unavailable):
        chain_on(behind, elsewhere).spent_coins([NAME], chain.head())


def test_a_transaction_is_where_a_quorum_finds_it() -> None:
    fee = 700
    spend = parse_tx(draft_of([COIN], (STRANGER, COIN.amount - fee)).transaction())
    both = KNOWN | {spend.tx_id: spend.serialise().hex()}
    nowhere, waiting = CoinNode(), CoinNode(transactions=both)
    mined = CoinNode(transactions=both, mined={spend.tx_id: 150})
    assert not chain_on(nowhere).tx_status(spend.tx_id).known
    status = chain_on(waiting, nowhere, nowhere).tx_status(spend.tx_id)
    assert (status.known, status.block, status.succeeded) == (True, None, False)
    status = chain_on(mined, mined, nowhere).tx_status(spend.tx_id)
    assert (status.succeeded, status.fee, status.effect_amount) == (True, fee, COIN.amount - fee)
    assert status.block == BlockRef(150, mined.block_hash(150))
    with pytest.raises(NodesDisagree):
        chain_on(mined, waiting).tx_status(spend.tx_id)


def test_a_fee_is_not_said_while_nobody_has_where_a_coin_comes_from() -> None:
    mined = CoinNode(transactions=KNOWN, mined={COIN.tx_id: 150})
    with pytest.raises(Unavailable):
        chain_on(mined).tx_status(COIN.tx_id)


def test_a_silent_node_is_no_voice() -> None:
    silent = CoinNode(is_silent=True)
    assert spent(CoinNode(), CoinNode(), silent) == frozenset()
    with pytest.raises(Unavailable):
        spent(CoinNode(), silent)


@pytest.mark.parametrize(
    "name",
    ["", "ab" * 32, "ab" * 32 + ":", "ab" * 31 + ":0", "AB" * 32 + ":0", "ab" * 32 + ":-1",
     "ab" * 32 + ":01", "ab" * 32 + ":4294967296", "zz" * 32 + ":0", "ab" * 32 + ":1_0"],
)  # fmt: skip
def test_a_coin_has_one_name(name: str) -> None:
    with pytest.raises(Refused) as refused:
        spent(CoinNode(), coins=(name,))
    assert refused.value.reason is Reason.MALFORMED


def test_a_transaction_proves_itself_by_its_name() -> None:
    lying = CoinNode(transactions={COIN.tx_id: funding(address_of(HOT), 1).serialise().hex()})
    honest = CoinNode(transactions={COIN.tx_id: COIN.previous.hex()})
    assert chain_on(lying, honest).transaction(COIN.tx_id) == COIN.previous
    for node in (lying, CoinNode()):
        with pytest.raises(Unavailable):
            chain_on(node).transaction(COIN.tx_id)


def test_the_traits_follow_the_network() -> None:
    local = chain_on(CoinNode()).traits
    assert (local.coin_type, local.purpose, local.spends_coins) == (1, 84, True)
    assert not local.is_main_network
    main = chain_on(CoinNode(), params=replace(PARAMS, network_name="main")).traits
    assert (main.coin_type, main.is_main_network) == (0, True)
    assert main.network == f"bip122:{NETWORKS['main'].genesis_hash}" != local.network


@pytest.mark.parametrize(
    "changes",
    [
        {"network_name": "testnet3"},
        {"fee_floor": 0},
        {"fee_floor": 201},
        {"fee_cap": 10_001},
        {"confirmations": 0},
    ],
)
def test_parameters_outside_their_bounds_are_refused_at_once(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fee|network|confirmation"):
        replace(PARAMS, **changes)  # type: ignore[arg-type]
    assert BitcoinParams(ChainId("x"), "main", 1, 1, 1).network_name == "main"
