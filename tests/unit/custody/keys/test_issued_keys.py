"""Keys without public derivation: made in the signer, taken from a table only with its word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chains.base import ChainTraits
from core.clock import ManualClock
from core.entropy import SeededEntropy
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo
from custody import catalogue
from custody.db import Database
from custody.keys.attestation import AddressClaim, AttestationKey, attest_address, check_proof
from custody.keys.issued_keys import IssuedKey, check_issued, encode, make_issued
from custody.keys.owners import OwnersInMemory
from custody.keys.secret import Secret
from custody.keys.signers.base import KeyRef
from custody.keys.signers.seeded import SeededSigner
from custody.wallets import addresses
from custody.wallets.key_stock import KeyStock, Marks, issued_keys, keys_in
from custody.wallets.rederive import AddressWatch
from tests.unit.custody.keys.networks import traits

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "attestations.json").read_text())
KEY = AttestationKey(Secret(bytes.fromhex(VECTORS["secret"])))
EDWARDS = traits(chain=ChainId("edwards"), network="edwards/1", curve="ed25519", coin_type=501)
CLOCK = ManualClock()


@pytest.mark.parametrize("vector", VECTORS["issued_keys"], ids=lambda vector: vector["name"])
def test_the_published_vectors_hold(vector: dict[str, Any]) -> None:
    fields, proof = dict(vector["fields"]), bytes.fromhex(vector["signature"])
    public_key = bytes.fromhex(fields.pop("public_key"))
    account, index = fields.pop("account"), fields.pop("index")
    of = traits(**fields)
    message = encode(of, account, index, public_key)
    assert message.hex() == vector["encoding"]
    assert KEY.sign(message) == proof
    check_issued(KEY.public_key, of, IssuedKey(account, index, public_key, proof))


@dataclass
class Edwards:
    """A network on Ed25519 with its signer: addresses are the keys in hex."""

    traits: ChainTraits = EDWARDS
    signer: SeededSigner = field(
        default_factory=lambda: SeededSigner(
            Secret(SeededEntropy(1, "edwards").token_bytes(32)), EDWARDS
        )
    )
    owners: OwnersInMemory = field(default_factory=OwnersInMemory)
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    def address_of(self, public_key: bytes) -> str:
        assert len(public_key) == 32
        return public_key.hex()

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        assert chain == self.traits.chain
        self.asked.append((account, first, count))
        return make_issued(self.traits, self.signer, KEY, account, first, count)

    def attest(self, claim: AddressClaim) -> bytes:
        return attest_address(claim, chain=self, signer=self.signer, key=KEY, owners=self.owners)


@pytest.fixture
def net() -> Edwards:
    return Edwards()


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    for name in ("alice", "bob"):
        opened.run(partial(catalogue.add_customer, external_id=name, now_ns=1))
    yield opened
    opened.close()


def stock(net: Edwards, maker: Any = None, **marks: Any) -> KeyStock:
    accounts = ("deposits", "hot")
    made = KeyStock(net.traits, maker or net, lambda: KEY.public_key, accounts)
    return replace(made, marks={"deposits": Marks(low=3, high=10), **marks})


def reserve(db: Database, net: Edwards, customer: int) -> addresses.Address:
    def apply(conn: sa.Connection) -> addresses.Address:
        return addresses.reserve(
            conn,
            net.traits.chain,
            CustomerNo(customer),
            public_key_of=keys_in(conn, net.traits, attestation_key=KEY.public_key),
            address_of=net.address_of,
            now_ns=CLOCK.now_ns(),
        )

    return db.run(apply)


def issue(db: Database, net: Edwards, customer: int) -> addresses.Address:
    row = addresses.attest(
        reserve(db, net, customer), net,
        network=net.traits.network, attestation_key=KEY.public_key,
    )  # fmt: skip
    db.run(lambda conn: addresses.put_attestation(conn, row))
    return row


def change(db: Database, index: int, **values: Any) -> None:
    db.run(
        lambda conn: conn.execute(
            issued_keys.update()
            .where(issued_keys.c.account == "deposits", issued_keys.c.key_index == index)
            .values(**values)
        )
    )


def test_the_stock_is_filled_and_filled_again_before_it_is_empty(
    db: Database, net: Edwards
) -> None:
    shelf = stock(net)
    assert shelf.step(db, clock=CLOCK) == 11
    assert net.asked == [("deposits", 0, 10), ("hot", 0, 1)]
    assert shelf.step(db, clock=CLOCK) == 0
    for _ in range(7):
        issue(db, net, 1)
    assert shelf.step(db, clock=CLOCK) == 0, "three are left, which is enough"
    issue(db, net, 2)
    assert shelf.step(db, clock=CLOCK) == 8
    assert net.asked[2:] == [("deposits", 10, 8)]
    with db.read() as conn:
        assert shelf.left(conn, "deposits") == 10
        found = keys_in(conn, net.traits, attestation_key=KEY.public_key)("hot", 0)
    assert found == net.signer.public_key(KeyRef("hot", 0))


def test_an_address_of_an_issued_key_is_attested_and_watched(db: Database, net: Edwards) -> None:
    stock(net).step(db, clock=CLOCK)
    rows = [issue(db, net, 1) for _ in range(5)]
    assert [row.key_index for row in rows] == list(range(5))
    assert [row.address for row in rows] == [
        net.signer.public_key(KeyRef("deposits", index)).hex() for index in range(5)
    ]

    def second(account: str, index: int) -> bytes:
        with db.read() as conn:
            return keys_in(conn, net.traits, attestation_key=KEY.public_key)(account, index)

    watch = AddressWatch(net, lambda: KEY.public_key, second)
    assert watch.step(db, clock=CLOCK) == 0
    change(db, 2, public_key=bytes(32))
    assert watch.step(db, clock=CLOCK) == 1, "the key is no longer what the signer said"


def test_without_the_signer_what_is_there_is_used_up_and_then_nothing(
    db: Database, net: Edwards
) -> None:
    stock(net).step(db, clock=CLOCK)
    net.signer.close()
    with pytest.raises(Unavailable):
        stock(net, deposits=Marks(low=20, high=30)).step(db, clock=CLOCK)
    for customer in (1, 2) * 5:
        reserve(db, net, customer)
    with pytest.raises(Unavailable, match="deposits/10 is not made yet"):
        reserve(db, net, 1)


@pytest.mark.parametrize(
    "values",
    [
        {"public_key": b"t" * 32},
        {"proof": bytes(64)},
        {"proof": b""},
        {"proof": "of another"},
    ],
    ids=str,
)
def test_a_changed_key_is_taken_by_nobody(
    db: Database, net: Edwards, values: dict[str, Any]
) -> None:
    stock(net).step(db, clock=CLOCK)
    if values.get("proof") == "of another":
        values = {"proof": net.public_keys(net.traits.chain, "deposits", 1, 1)[0].proof}
    change(db, 0, **values)
    with pytest.raises(Refused) as refused:
        reserve(db, net, 1)
    assert refused.value.reason is Reason.BAD_ATTESTATION


@dataclass
class Liar:
    """A maker of keys who answers something else than was asked."""

    net: Edwards
    how: str

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        made = self.net.public_keys(chain, account, first, count)
        thief = AttestationKey(Secret(bytes(32)))
        return {
            "fewer": made[:-1],
            "others": self.net.public_keys(chain, account, first + 1, count),
            "another account": self.net.public_keys(chain, "gas", first, count),
            "another's word": make_issued(
                self.net.traits, self.net.signer, thief, account, first, count
            ),
            "another key": [*made[:-1], replace(made[-1], public_key=bytes(32))],
        }[self.how]


@pytest.mark.parametrize(
    "how", ["fewer", "others", "another account", "another's word", "another key"]
)
def test_keys_that_were_not_asked_for_are_not_stored(db: Database, net: Edwards, how: str) -> None:
    with pytest.raises(Refused) as refused:
        stock(net, Liar(net, how)).step(db, clock=CLOCK)
    assert refused.value.reason is Reason.BAD_ATTESTATION
    with db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(issued_keys)).scalar_one() == 0


def test_two_workers_that_fill_at_once_store_each_key_once(db: Database, net: Edwards) -> None:
    @dataclass
    class Slow:
        """Another worker is faster while this one waits for its keys."""

        def public_keys(
            self, chain: ChainId, account: str, first: int, count: int
        ) -> list[IssuedKey]:
            stock(net).step(db, clock=CLOCK)
            return net.public_keys(chain, account, first, count)

    assert stock(net, Slow()).step(db, clock=CLOCK) == 0
    with db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(issued_keys)).scalar_one() == 11


def test_a_proof_says_one_thing_alone(net: Edwards) -> None:
    (one,) = net.public_keys(net.traits.chain, "deposits", 4, 1)
    check_issued(KEY.public_key, net.traits, one)
    wrong: list[tuple[ChainTraits, IssuedKey]] = [
        (replace(net.traits, chain=ChainId("other")), one),
        (replace(net.traits, network="other"), one),
        (replace(net.traits, curve="secp256k1"), one),
        (net.traits, replace(one, account="hot")),
        (net.traits, replace(one, index=5)),
        (net.traits, replace(one, index=-1)),
        (net.traits, replace(one, public_key=bytes(32))),
    ]
    for of, issued in wrong:
        with pytest.raises(Refused) as refused:
            check_issued(KEY.public_key, of, issued)
        assert refused.value.reason is Reason.BAD_ATTESTATION
    with pytest.raises(Refused):  # and it is no attestation of an address
        check_proof(KEY.public_key, b"strongroom/address", one.proof)


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1_001), (-1, 1), ((1 << 31) - 1, 2)])
def test_the_signer_makes_no_impossible_keys(net: Edwards, first: int, count: int) -> None:
    with pytest.raises(Refused):
        net.public_keys(net.traits.chain, "deposits", first, count)
