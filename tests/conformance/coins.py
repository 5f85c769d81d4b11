"""The harness of a real node whose transactions use up coins."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence

from chains.base import NATIVE, Chain, Coin
from chains.bitcoin.address import address_of_script, script_of
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.opening import open_bitcoin
from chains.bitcoin.params import COIN, MATURITY, NETWORKS
from chains.registry import ChainConfig
from core.errors import Reason
from core.ids import ChainId
from infra.devnet.coin_money import LOCAL, Miner
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.conformance.harness import BLOCKS_TO_FINAL, Key, Slot, curve_key


class BitcoinHarness:
    """A real node of a fresh local network."""

    tokens: tuple[str, ...] = ()
    coin = COIN
    least = 1_000
    units = 400
    blocks_to_final = BLOCKS_TO_FINAL
    ripening = MATURITY

    def __init__(self, node: CoreNode) -> None:
        self.node = node
        self.miner = Miner(node)
        self._opened: list[BitcoinChain] = []
        self._branches = 0
        self.chain: Chain = self.connect()

    def key(self, name: str) -> Key:
        return curve_key(name)

    def amounts(self, asset_key: str) -> Sequence[int]:
        return (self.least, 65_535, 65_536, COIN // 2, COIN - 100_000)

    def slot(self, address: str, number: int = 0) -> Slot:
        return Slot(coins=(self.coins(address)[number],))

    def coins(self, address: str) -> list[Coin]:
        """Return what an address can spend in the next block, oldest first."""
        script = script_of(address, LOCAL).hex()
        found = self.node.call("scantxoutset", "start", [f"raw({script})"])
        tip = found["height"]
        rows = sorted((one["height"], one["txid"], one["vout"], one) for one in found["unspents"])
        return [
            Coin(f"{tx_id}:{vout}", address, round(one["amount"] * COIN))
            for height, tx_id, vout, one in rows
            if not one["coinbase"] or tip - height + 1 >= MATURITY
        ]

    def enable_batches(self, name: str) -> None:
        """Do nothing: here everybody can."""

    def connect(self) -> Chain:
        return self._open("regtest")

    def impostor(self) -> Chain:
        return self._open("testnet4")

    def outsider(self, name: str) -> str:
        program = hashlib.sha256(name.encode()).digest()[:20]
        address = address_of_script(b"\x00\x14" + program, LOCAL)
        assert address is not None
        return address

    def bad_addresses(self) -> Mapping[str, tuple[str, Reason]]:
        good = self.outsider("somebody")
        flipped = "q" if good[-1] != "q" else "p"
        programs = {"zero": bytes(20), "ones": b"\xff" * 20}
        forbidden = {
            what: (
                str(address_of_script(b"\x00\x14" + program, LOCAL)),
                Reason.FORBIDDEN_DESTINATION,
            )
            for what, program in programs.items()
        }
        mainnet = address_of_script(b"\x00\x14" + b"\x07" * 20, NETWORKS["main"])
        return {
            **forbidden,
            "wrong checksum": (good[:-1] + flipped, Reason.INVALID_ADDRESS),
            "mixed case": (good[:-1] + good[-1:].upper() + "Q", Reason.INVALID_ADDRESS),
            "another network": (str(mainnet), Reason.WRONG_NETWORK),
            "another chain's": ("0x" + "11" * 20, Reason.INVALID_ADDRESS),
        }

    def fund(self, address: str, amount: int, asset_key: str = NATIVE) -> None:
        self.pay(address, asset_key, amount)
        self.node.mine()

    def pay(self, to: str, asset_key: str, amount: int) -> str:
        assert asset_key == NATIVE
        return self.miner.pay(to, amount)

    def mine(self, blocks: int = 1) -> None:
        self.node.mine(blocks)

    def mine_to(self, address: str) -> None:
        self.node.mine(to=address)

    def reorg(self, depth: int) -> None:
        """Leave the newest blocks; what they held waits again, and is in none of the new ones."""
        self._branches += 1
        first = self.node.call("getblockhash", self.node.height() - depth + 1)
        self.node.call("invalidateblock", first)
        # Blocks of equal height and destination would be the ones that were just left.
        to = self.outsider(f"miner of branch {self._branches}")
        for _ in range(depth + 1):
            self.node.call("generateblock", to, [])

    def close(self) -> None:
        """Close every connection that was made."""
        for chain in self._opened:
            chain.close()

    def _open(self, network: str) -> BitcoinChain:
        config = ChainConfig(
            kind="bitcoin",
            chain=ChainId("bitcoin"),
            node_urls=(self.node.url,),
            quorum=1,
            chain_number=0,
            genesis_hash=NETWORKS[network].genesis_hash,
            fee_floor=1,
            fee_cap=5_000,
            tip=0,
            batch_max=8,
            confirmations=BLOCKS_TO_FINAL + 1,
        )
        chain = open_bitcoin(config)
        self._opened.append(chain)
        return chain


@contextlib.contextmanager
def bitcoin_harness() -> Iterator[BitcoinHarness]:
    """Run a fresh node that relays outputs of any size."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(start_core(extra=("-dustrelayfee=0",)))
        harness = BitcoinHarness(node)
        stack.callback(harness.close)
        yield harness
