"""The asset side: final blocks, what each address holds there, and who proves control of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from chains.base import BlockRef, ChainReader
from core.errors import Reason, Refused
from core.ids import ChainId
from core.money import require_int
from custody.catalogue import Asset
from custody.reserves import verify
from custody.reserves.report import Draft


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """The block of a chain after which its balances are read; its height was fixed by a rule."""

    chain: ChainId
    network: str
    ref: BlockRef
    height_step: int = 1
    """The rule: the last final height that is a multiple of this."""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address that we say is ours."""

    chain: ChainId
    address: str
    scheme: str
    """How control is proved: one of verify.SCHEMES, or one of more_schemes given to seal."""
    encumbrance: str = ""
    """To whom and why the money is pledged; empty when it is free."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What an address holds after the final block: (asset number, minor units), zeros left out."""

    own: OwnAddress
    balances: tuple[tuple[int, int], ...]


Prover = Callable[[ChainId, str, bytes], bytes]
"""(chain, address, challenge) -> the proof of the address's scheme; for eip191 r ‖ s ‖ v."""


def rule_height(final_height: int, height_step: int) -> int:
    """Return the height that the rule chooses: nobody picks a block after a good hour (V06)."""
    if height_step < 1 or final_height < 0:
        raise ValueError("a height step is at least 1, a height at least 0")
    return final_height - final_height % height_step


def read_holdings(
    readers: Mapping[ChainId, ChainReader],
    *,
    blocks: Sequence[FinalBlock],
    assets: Sequence[Asset],
    addresses: Iterable[OwnAddress],
) -> tuple[Holding, ...]:
    """Ask the nodes what each address held after its chain's final block, listed assets only.

    Addresses that held nothing are left out; the order (chain, address) tells nothing of customers.
    Unavailable as the readers say. Refused: unknown_chain.
    """
    refs = {block.chain: block.ref for block in blocks}
    ours = sorted(addresses, key=lambda each: (each.chain, each.address))
    held = []
    for chain, some in groupby(ours, key=lambda each: each.chain):
        if chain not in refs or chain not in readers:
            raise Refused(Reason.UNKNOWN_CHAIN, chain)
        own_here = list(some)
        texts = [own.address for own in own_here]
        found = {
            int(asset.asset_no): readers[chain].balances_of(texts, asset.spec.key, refs[chain])
            for asset in assets
            if asset.chain == chain
        }
        for own in own_here:
            balances = tuple(
                (number, amount)
                for number, amounts in found.items()
                if (amount := require_int(amounts[own.address]))
            )
            if balances:
                held.append(Holding(own, balances))
    return tuple(held)


def challenges(draft: Draft) -> list[tuple[OwnAddress, bytes]]:
    """Return what each address of a draft must sign, in the order of the report.

    A challenge names entity, snapshot, date, every final block and the commitment to the whole
    body, so it cannot have been signed before those blocks, for anyone else, or for other numbers.
    """
    body, commitment = draft.read(), draft.commitment
    return [
        (
            OwnAddress(
                ChainId(line["chain"]), line["address"], line["scheme"], line["encumbrance"]
            ),
            verify.challenge_of(body, commitment, line),
        )
        for line in body["addresses"]
    ]


def collect_proofs(
    draft: Draft,
    prove: Prover,
    *,
    more_schemes: Mapping[str, verify.Scheme] | None = None,
) -> list[bytes]:
    """Have every address of a draft prove control, each proof checked as it comes.

    Refused: bad_signature (it names the address), unknown_version (a scheme that nobody can check).
    """
    schemes = {**verify.SCHEMES, **(more_schemes or {})}
    proofs = []
    for own, challenge in challenges(draft):
        if own.scheme not in schemes:
            raise Refused(Reason.UNKNOWN_VERSION, f"scheme {own.scheme}")
        proof = prove(own.chain, own.address, challenge)
        try:
            signer = schemes[own.scheme](challenge, proof)
        except verify.Refuted as error:
            raise Refused(Reason.BAD_SIGNATURE, f"{own.address}: {error}") from error
        if signer != own.address:
            raise Refused(Reason.BAD_SIGNATURE, f"{own.address} is not who signed")
        proofs.append(proof)
    return proofs
