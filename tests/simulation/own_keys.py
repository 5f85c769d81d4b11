"""I15 as a judge sees it: our addresses derived by the second library, attestations by the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chains.fake import FakeChain
from core.errors import Refused
from custody.db import Database
from custody.keys.derivation import AccountKeys
from custody.wallets import addresses, rederive
from tests.simulation import cast


def findings(db: Database, chain: FakeChain, keys: Mapping[str, AccountKeys]) -> Iterator[str]:
    """Yield every address that is not what it should be; nobody here changes any."""
    chain_id, network = chain.traits.chain, chain.traits.network
    with db.read() as conn:
        found = addresses.all_of(conn, chain_id)
        gap = addresses.missing(conn)
        bad = rederive.bad_addresses(conn, chain_id)
    if gap or bad:
        yield f"I15: {gap} indexes have no address, {bad} incidents of addresses"
    for row in found:
        derived = chain.address_of(keys[row.account].public_key_again(row.key_index))
        if derived != row.address:
            yield f"I15: {row} derives to {derived}"
        if row.attestation is None:
            continue  # it waits for the signer; at rest none does
        try:
            addresses.check_shown(
                row, network=network, attestation_key=cast.ATTESTATION_KEY.public_key
            )
        except Refused as refused:
            yield f"I15: {refused}"
