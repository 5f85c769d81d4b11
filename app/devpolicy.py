"""The first policy of a development setup: two officers, wide limits in USD, own transfers at once.

What it says in words: nothing goes to a contract of ours by mistake, a withdrawal below 100,000 USD
needs two officers, a larger one two officers and half a minute; a customer withdraws at most a
million USD in any 24 hours, everybody together ten millions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from app.files import publication_name
from app.markets import assets_of
from app.opening import open_database
from app.settings import Settings
from chains.assets import load_assets
from core.clock import Clock
from custody import catalogue, prices
from custody.keys.officer_keys import load_officer_key
from custody.keys.publication import (
    Publication,
    render_publication,
    sign_publication,
    with_approval,
)
from custody.policy.document import parse_policy
from custody.policy.request import PRICE_SCALE, Price

STALE_AFTER_S = 10 * 365 * 86_400
"""Nothing feeds prices on a developer's machine: the first ones stay good."""
_POLICY = """\
version = 1
serial = 1
previous = ""
issued_ns = {issued_ns}

[publish]
quorum = "{threshold} of officers"
delay_s = 0

[price]
stale_after_s = {stale_after_s}

[groups.officers]
persons = [{persons}]

[[rules]]
id = "own-transfers"
kinds = ["sweep", "top_up", "refill"]
chains = ["*"]
assets = ["*"]
wallets = ["*"]
roles = ["platform"]
destination_kinds = ["own_wallet"]
outcome = "allow"

[[rules]]
id = "withdrawal"
kinds = ["withdrawal"]
chains = ["*"]
assets = ["*"]
wallets = ["*"]
max_usd = "100000"
outcome = "require"
quorum = "{threshold} of officers"
delay_s = 0
expiry_s = 86_400

[[rules]]
id = "large-withdrawal"
kinds = ["withdrawal"]
chains = ["*"]
assets = ["*"]
wallets = ["*"]
outcome = "require"
quorum = "{threshold} of officers"
delay_s = 30
expiry_s = 86_400

[[rules]]
id = "the-rest"
kinds = ["*"]
chains = ["*"]
assets = ["*"]
wallets = ["*"]
outcome = "block"
code = "not_foreseen"

[[buckets]]
id = "customer-day"
kinds = ["withdrawal"]
chains = ["*"]
assets = ["*"]
wallets = ["*"]
roles = ["customer"]
per = ["customer"]
unit = "usd"
cap = "1000000"
window_s = 86_400

[[buckets]]
id = "all-day"
kinds = ["withdrawal"]
chains = ["*"]
assets = ["*"]
wallets = ["*"]
per = ["global"]
unit = "usd"
cap = "10000000"
window_s = 86_400
"""


def dev_policy(
    persons: Sequence[str], *, threshold: int, issued_ns: int, stale_after_s: int = STALE_AFTER_S
) -> bytes:
    """Return the document of the first policy."""
    text = _POLICY.format(
        issued_ns=issued_ns,
        threshold=threshold,
        stale_after_s=stale_after_s,
        persons=", ".join(f'"{person}"' for person in persons),
    )
    return text.encode("ascii")


def write_dev_policy(folder: Path, document: bytes, key_files: Sequence[Path]) -> None:
    """Have officers sign the first policy and write its publication."""
    publication, policy = Publication(document), parse_policy(document)
    for file in key_files:
        approval = sign_publication(load_officer_key(file), policy, publication.authors)
        publication = with_approval(publication, approval)
    folder.mkdir(exist_ok=True)
    (folder / publication_name(policy.serial)).write_bytes(render_publication(publication))


def begin_dev_policy(settings: Settings, prices_usd: Mapping[str, int], *, clock: Clock) -> None:
    """List the assets and say what every coin is worth; nothing is asked of a signer or a node.

    prices_usd: of one whole coin, by symbol.
    """
    now_ns = clock.now_ns()
    specs = assets_of(load_assets(settings.catalogue.assets_file), list(settings.chains))
    db = open_database(settings)

    def apply(conn: sa.Connection) -> None:
        for spec in specs:
            asset = catalogue.list_asset(conn, spec, now_ns=now_ns)
            said = Price(prices_usd[spec.symbol] * 10**PRICE_SCALE, now_ns, "dev")
            prices.record(conn, asset.asset_no, said, by="dev", now_ns=now_ns)

    try:
        db.run(apply)
    finally:
        db.close()
