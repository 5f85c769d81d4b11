"""Who is there: three officers with their keys and mandates, and what a run is furnished with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import NATIVE, AssetSpec, ChainTraits, SpendKind
from chains.fake import FakeChain, FakeWorld
from core.clock import SECOND_NS
from core.entropy import SeededEntropy
from core.ids import AssetNo, MarketNo
from core.money import format_amount
from custody.catalogue import MarketRow
from custody.keys.attestation import AttestationKey
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.policy_book import PoliciesInMemory
from custody.keys.publication import Publication, publication_signable
from custody.keys.roster import Approval, Roster, SpendLimit, Verdict
from custody.keys.roster_files import RosterChain
from custody.keys.roster_text import sealed
from custody.keys.ruling import Law
from custody.keys.secret import Secret
from custody.keys.signers.base import KeyRef
from custody.keys.signers.local import LocalSigner
from custody.policy.document import parse_policy
from custody.withdrawals.workflow import WithdrawalTerms
from sweeper.policy import SweepRules
from tests.support.policies import bucket, document, required
from tests.support.policies import denied as denied_entry
from tests.support.rails import FileKey, PasskeyOf, Rail, WalletKey

PEOPLE = ("ada", "bea", "cai")
STALE_AFTER_S = 1_200
DELAY_S = 90
WINDOW_S = 3_600
CUSTOMER_CAP, GLOBAL_CAP, NATIVE_CAP = 900, 2_000, 1_400_000
"""What each customer and everybody may take in a window, in USD; and of the native coin."""
SEED = Secret(SeededEntropy(1, "strongroom/simulation/keys").token_bytes(32))
ATTESTATION_KEY = AttestationKey(
    Secret(SeededEntropy(1, "strongroom/simulation/attestation").token_bytes(32))
)
EXPIRY_NS = 3_600 * SECOND_NS
BATCH_MAX = 3
"""Withdrawals in one transaction: some leave together, some alone."""
TERMS = WithdrawalTerms(network_fee_max=60_000, expiry_ns=EXPIRY_NS)
RULES = SweepRules(cost_multiple=3, fee_max=40_000, top_up_max=60_000, rate_max=200)
NATIVE_NO, TOKEN_NO, ODD_NO = AssetNo(1), AssetNo(2), AssetNo(3)
MARKET_NO = MarketNo(1)
TICK_MINOR, LOT_MINOR = 10, 100
MAKER_PPM, TAKER_PPM = 500, 1_500


def policy(serial: int = 1, previous: bytes = b"", denied: Sequence[int] = ()) -> bytes:
    """Return the policy of a run: two rules, three windows, and whom a deny names at the moment."""
    native = {"assets": [NATIVE], "chains": ["fake"], "window_s": WINDOW_S}
    entries = [
        required("small", max_usd="200", expiry_s=EXPIRY_NS // SECOND_NS),
        required("slow", max_usd="800", delay_s=DELAY_S, expiry_s=EXPIRY_NS // SECOND_NS),
        bucket("customer", "customer", str(CUSTOMER_CAP), window_s=WINDOW_S),
        bucket("all", "global", str(GLOBAL_CAP), window_s=WINDOW_S),
        bucket("native", "global", format_amount(NATIVE_CAP, 9), unit="coins", **native),
    ]
    if denied:
        entries.append(denied_entry("named", "named", customers=list(denied)))
    return document(
        *entries, serial=serial, previous=previous, persons=PEOPLE, stale_after_s=STALE_AFTER_S
    )


def file_key(label: str) -> FileKey:
    """Return the key in a file of a label, always the same."""
    return FileKey(f"officer/{label}")


@dataclass(frozen=True, slots=True)
class Cast:
    """Everything about people, keys and listings that outlives every crash: files outside."""

    officers: dict[str, list[Rail]]
    """Whatever each of them signs approvals with; the first is a key in a file."""
    stranger: Rail
    rosters: RosterChain
    book: PoliciesInMemory
    """What the signer has learned: the first version since ever."""
    law: Law
    assets: tuple[AssetSpec, ...]
    token: str
    odd: str
    unlisted: str
    hot: str
    gas: str

    @property
    def roster(self) -> Roster:
        """Return the roster that counts."""
        return self.rosters.pinned

    def key_of(self, person: str) -> Ed25519PrivateKey:
        """Return an officer's key in a file."""
        return file_key(person).key

    def spec(self, asset_key: str) -> AssetSpec:
        """Return a listed asset."""
        return next(spec for spec in self.assets if spec.key == asset_key)


def gather(world: FakeWorld) -> Cast:
    """Deploy the tokens of a fresh world and write the officers' roster."""
    token = world.add_token("TOK")
    odd = world.add_token("ODD", kept_ppm=10_000)
    unlisted = world.add_token("SCAM", listed=False)
    officers: dict[str, list[Rail]] = {name: [file_key(name)] for name in PEOPLE}
    officers["ada"].append(file_key("ada/second"))
    officers["bea"].append(PasskeyOf("bea"))
    officers["cai"].append(WalletKey("cai"))
    assets = world.listed_assets()
    chain = FakeChain(world)
    keys = local_signer(chain.traits)
    hot, gas = (chain.address_of(keys.public_key(KeyRef(name, 0))) for name in ("hot", "gas"))
    listed = sorted([NATIVE, token, odd])
    roster = Roster(
        serial=1,
        previous=b"",
        issued_ns=0,
        threshold=2,
        officers=tuple(rail.row(name) for name, own in officers.items() for rail in own),
        limits=tuple(
            SpendLimit(chain.traits.chain, key, 10**15, 10**16, 60_000, 10**9) for key in listed
        ),
        mandates=_mandates(chain.traits, hot=hot, keys=listed),
        attestation_key=ATTESTATION_KEY.public_key,
    )
    roster, book = sealed(roster), PoliciesInMemory()
    book.learn(published(officers, policy()), roster=roster, now_ns=0)
    return Cast(
        officers=officers,
        stranger=file_key("stranger"),
        rosters=RosterChain((roster,)),
        book=book,
        law=Law(book, {(spec.chain, spec.key): spec.scale for spec in assets}),
        assets=assets,
        token=token,
        odd=odd,
        unlisted=unlisted,
        hot=hot,
        gas=gas,
    )


def published(officers: Mapping[str, Sequence[Rail]], body: bytes) -> Publication:
    """Return a version as everybody signed it, each with the newest of his credentials."""
    signable = publication_signable(parse_policy(body), (), Verdict.APPROVE)
    said = tuple(
        Approval(own[-1].row(name).public_key, Verdict.APPROVE, *own[-1].sign(signable))
        for name, own in officers.items()
    )
    return Publication(body, (), said)


def markets() -> list[MarketRow]:
    """Return the one market: the token in native coin."""
    return [
        MarketRow(
            market_no=MARKET_NO,
            name="TOK-FAKE",
            base_asset_no=TOKEN_NO,
            quote_asset_no=NATIVE_NO,
            tick_minor=TICK_MINOR,
            lot_minor=LOT_MINOR,
            maker_ppm=MAKER_PPM,
            taker_ppm=TAKER_PPM,
        )
    ]


def local_signer(traits: ChainTraits) -> LocalSigner:
    """Return a signer over the run's seed, as a start of the process would open it."""
    return LocalSigner(SEED, traits)


def _mandates(traits: ChainTraits, *, hot: str, keys: list[str]) -> tuple[Mandate, ...]:
    mandates = []
    for kind in (SpendKind.SWEEP, SpendKind.TOP_UP, SpendKind.CANCELLATION):
        pays = kind is not SpendKind.CANCELLATION
        mandate = Mandate(
            mandate_id=f"simulation-{kind.value}",
            kind=kind,
            chain=traits.chain,
            network=traits.network,
            destinations=(hot,) if kind is SpendKind.SWEEP else (),
            destination_accounts=("deposits",) if kind is SpendKind.TOP_UP else (),
            caps=tuple(AssetCap(key, 10**15, 10**16) for key in sorted(keys)) if pays else (),
            fee_max=60_000,
            fee_window_max=10**9,
            valid_from_ns=0,
            valid_until_ns=TIME_LIMIT_NS - 1,
        )
        mandates.append(mandate)
    return tuple(mandates)
