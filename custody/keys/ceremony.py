"""The key ceremony: one seed is made, backed up in shares, verified, put into its home, forgotten.

It lives in memory and cannot be resumed: a ceremony that breaks off leaves no seed behind, and the
next one makes another. The seed goes into its home only after every set of shares, as typed back by
their holders, restored the same addresses. What it asks and shows goes through `Terminal`, so the
steps are the same for persons and for tests.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import ChainTraits
from core.clock import SECOND_NS, Clock
from core.entropy import Entropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.key_facts import Network, PublicKeys, differences, public_keys
from custody.keys.secret import Secret
from custody.keys.share_delivery import Delivery
from custody.keys.shares import Scheme, facts_of, restore, split
from custody.keys.signers.base import Signer
from custody.keys.signers.keystore import FRESH_SEED_BYTES, fresh_seed
from custody.keys.signers.seeded import SeededSigner
from custody.keys.terminal import Terminal
from custody.keys.transcript import (
    SignedTranscript,
    Transcript,
    check_persons,
    sign_transcript,
)

DICE_THROWS_MIN = 100
"""Throws of a fair die that are worth 258 bits."""
PASSPHRASE_TRIES = 3
DICE_TAG = b"strongroom/dice/v1"
DESTROYED = "the working copy was overwritten; copies inside the interpreter end with the process"


class Stage(enum.IntEnum):
    """How far a ceremony is. There is one way through, and no way back."""

    PREPARED = 0
    GENERATED = 1
    SHARED = 2
    VERIFIED = 3
    STORED = 4
    DESTROYED = 5
    SIGNED = 6


TITLES = {
    Stage.PREPARED: "who and where",
    Stage.GENERATED: "the seed is made",
    Stage.SHARED: "one share for each holder, read back",
    Stage.VERIFIED: "every set of shares is tried",
    Stage.STORED: "the seed goes to its home",
    Stage.DESTROYED: "the working copy is overwritten",
    Stage.SIGNED: "the transcript is signed",
}


class Home(Protocol):
    """Where the seed lies after the ceremony."""

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        ...

    @property
    def for_main_networks(self) -> bool:
        """Return whether keys in this home may be of a main network."""
        ...

    def store(self, seed: Secret) -> None:
        """Keep the seed. Refused: exists_with_other_content. Unavailable: it cannot be reached."""
        ...

    def open(self, traits: ChainTraits) -> Signer:
        """Open the keys from where they were stored, as the signer process will."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a ceremony is to do, decided before it begins."""

    ceremony: str
    presiding: str
    witness: str
    holders: tuple[str, ...]
    networks: tuple[Network, ...]
    scheme: Scheme
    with_dice: bool = False
    with_passphrase: bool = False
    tool: str
    machine: str
    """What is known of the machine, for the transcript."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a ceremony leaves beside the stored seed and the holders' shares."""

    transcript: SignedTranscript
    keys: PublicKeys


class Ceremony:
    """One ceremony. `hold` does all of it, once."""

    def __init__(
        self,
        order: Order,
        home: Home,
        officers: tuple[Ed25519PrivateKey, Ed25519PrivateKey],
        terminal: Terminal,
        delivery: Delivery,
        *,
        entropy: Entropy,
        clock: Clock,
    ) -> None:
        self.stage = Stage.PREPARED
        self._order, self._home, self._officers = order, home, officers
        self._terminal, self._delivery = terminal, delivery
        self._entropy, self._clock = entropy, clock
        self._seed = bytearray(FRESH_SEED_BYTES)
        self._began_s = clock.now_ns() // SECOND_NS

    def hold(self) -> Outcome:
        """Run all stages; whatever happens, the working copy is overwritten.

        Refused: malformed, quorum_not_met, main_network (a home that may not hold such keys),
        weak_key (dice), wrong_passphrase, bad_share (a holder cannot read a share back),
        exists_with_other_content. Corrupt: shares or home give other addresses than the seed.
        """
        try:
            return self._hold()
        finally:
            self._destroy()

    def _hold(self) -> Outcome:
        self._enter(Stage.PREPARED)
        self._prepare()
        self._enter(Stage.GENERATED)
        entropy_line = self._generate()
        keys = public_keys(self._open, self._order.networks)
        self._enter(Stage.SHARED)
        passphrase = self._ask_passphrase()
        taken = self._share(passphrase)
        self._enter(Stage.VERIFIED)
        verified = self._verify(taken, keys)
        self._enter(Stage.STORED)
        self._store(keys)
        share_set = facts_of(taken[0]).identifier
        del taken, passphrase
        self._enter(Stage.DESTROYED)
        self._destroy()
        self._terminal.say(
            "  Overwritten. What the interpreter copied while it worked ends with it:"
        )
        self._terminal.say("  switch this machine off when the transcript has been carried away.")
        self._enter(Stage.SIGNED)
        return Outcome(self._sign(keys, entropy_line, verified, share_set), keys)

    def _enter(self, stage: Stage) -> None:
        if stage not in (self.stage, self.stage + 1):
            raise Corrupt(f"a ceremony does not go from {self.stage.name} to {stage.name}")
        self.stage = stage
        self._terminal.say(f"\nStep {stage + 1} of {len(Stage)}: {TITLES[stage]}")

    def _prepare(self) -> None:
        order = self._order
        check_persons(order.presiding, order.witness, order.holders)
        if len(order.holders) != order.scheme.count:
            raise Refused(Reason.MALFORMED, f"{order.scheme.count} holders are needed")
        if not order.networks:
            raise Refused(Reason.UNKNOWN_CHAIN, "no chain was named")
        if self._officers[0].public_key() == self._officers[1].public_key():
            raise Refused(Reason.QUORUM_NOT_MET, "both roles have one key")
        for network in order.networks:
            if network.traits.is_main_network and not self._home.for_main_networks:
                raise Refused(
                    Reason.MAIN_NETWORK, f"{self._home.about} never holds keys of a main network"
                )
        say = self._terminal.say
        say(f"  ceremony   {order.ceremony}, with {order.tool}")
        say(f"  presiding  {order.presiding}")
        say(f"  witness    {order.witness}")
        say(f"  holders    {', '.join(order.holders)}")
        say(f"  shares     {order.scheme}")
        say(f"  home       {self._home.about}")
        say(f"  chains     {', '.join(str(one.traits.chain) for one in order.networks)}")
        say(f"  machine    {order.machine}")
        self._terminal.confirm("Is everybody here, and nobody else?")

    def _generate(self) -> str:
        line = "256 bits of the operating system's generator"
        seed = fresh_seed(self._entropy)
        if self._order.with_dice:
            throws = self._terminal.ask_page(
                f"Throw a die at least {DICE_THROWS_MIN} times and type the numbers, 1 to 6.\n"
                "Spaces do not count, and there may be as many lines as you like.",
                lambda typed: _dice(typed) is not None,
            )
            seed = mixed_with_dice(seed, throws)
            line += f", xor SHA-256 of {len(throws.reveal().translate(None, _SPACES))} dice throws"
        self._seed[:] = seed.reveal()
        self._terminal.say(f"  {line}")
        return line

    def _ask_passphrase(self) -> Secret | None:
        if not self._order.with_passphrase:
            return None
        self._terminal.say(
            "  A passphrase makes the shares worthless without it. It is not shared:"
        )
        self._terminal.say("  keep it apart from all shares. Nobody can tell a wrong one from a")
        self._terminal.say("  right one except by the addresses.")
        first = self._terminal.ask_secret("  Passphrase: ")
        if len(first.reveal()) < 8 or self._terminal.ask_secret("  Again: ") != first:
            raise Refused(Reason.WRONG_PASSPHRASE, "shorter than 8 bytes, or not the same twice")
        return first

    def _share(self, passphrase: Secret | None) -> list[Secret]:
        order = self._order
        secret = Secret(bytes(self._seed))
        shares = split(secret, order.scheme, entropy=self._entropy, passphrase=passphrase)
        taken = []
        for number, (holder, share) in enumerate(zip(order.holders, shares, strict=True), 1):
            self._delivery.give(number, holder, share)
            taken.append(self._delivery.take_back(number, holder, share))
            self._terminal.say(f"  share {number} of {len(shares)}: {holder} has it")
        return taken

    def _verify(self, taken: Sequence[Secret], keys: PublicKeys) -> str:
        scheme = self._order.scheme
        passphrase = self._ask_passphrase_again(taken[: scheme.threshold], keys)
        sets = scheme.sets()
        for places in sets:
            wrong = self._differences([taken[place] for place in places], passphrase, keys)
            if wrong:
                numbers = ", ".join(str(place + 1) for place in places)
                raise Corrupt(f"shares {numbers} restore other addresses: {', '.join(wrong)}")
        line = f"{len(sets)} of {len(sets)} sets of {scheme.threshold} shares"
        line += " restored the addresses below"
        self._terminal.say(f"  {line}")
        for one in keys.accounts:
            self._terminal.say(f"  {one.chain} {one.account:9} {one.path:14} {one.addresses[0]}")
        return line

    def _ask_passphrase_again(self, some: Sequence[Secret], keys: PublicKeys) -> Secret | None:
        if not self._order.with_passphrase:
            return None
        for _ in range(PASSPHRASE_TRIES):
            typed = self._terminal.ask_secret("  Passphrase, as its keeper wrote it down: ")
            if not self._differences(some, typed, keys):
                return typed
            self._terminal.say("    with this passphrase the shares restore other addresses")
        raise Refused(Reason.WRONG_PASSPHRASE, "its keeper did not write it down as it was typed")

    def _differences(
        self, shares: Sequence[Secret], passphrase: Secret | None, keys: PublicKeys
    ) -> list[str]:
        seed = restore(shares, passphrase)
        found = public_keys(lambda traits: SeededSigner(seed, traits), self._order.networks)
        return differences(keys.accounts, found.accounts)

    def _store(self, keys: PublicKeys) -> None:
        self._home.store(Secret(bytes(self._seed)))
        found = public_keys(self._home.open, self._order.networks)
        wrong = differences(keys.accounts, found.accounts)
        if wrong or found.xpubs != keys.xpubs:
            raise Corrupt(f"{self._home.about} gives other keys: {', '.join(wrong)}")
        self._terminal.say(f"  {self._home.about}, opened again: the same addresses")

    def _sign(
        self, keys: PublicKeys, entropy_line: str, verified: str, share_set: int
    ) -> SignedTranscript:
        order = self._order
        passphrase = "with a passphrase" if order.with_passphrase else "without a passphrase"
        transcript = Transcript(
            ceremony=order.ceremony,
            tool=order.tool,
            began_s=self._began_s,
            ended_s=max(self._began_s, self._clock.now_ns() // SECOND_NS),
            presiding=order.presiding,
            witness=order.witness,
            holders=order.holders,
            entropy=entropy_line,
            shares=f"{order.scheme}, {passphrase}",
            share_set=share_set,
            delivered=self._delivery.about,
            verified=verified,
            home=self._home.about,
            destroyed=DESTROYED,
            machine=order.machine,
            accounts=keys.accounts,
        )
        self._terminal.confirm(
            f"{order.presiding} and {order.witness}: is what stands above what you saw?"
        )
        return sign_transcript(transcript, *self._officers)

    def _open(self, traits: ChainTraits) -> Signer:
        return SeededSigner(Secret(bytes(self._seed)), traits)

    def _destroy(self) -> None:
        self._seed[:] = bytes(len(self._seed))

    def __repr__(self) -> str:
        return f"<Ceremony {self._order.ceremony}, {self.stage.name}>"


_SPACES = b" \t\r\n"


def mixed_with_dice(seed: Secret, throws: Secret) -> Secret:
    """Return seed xor SHA-256(tag ‖ throws): as good as the better of the two sources.

    Refused: weak_key (fewer than 100 throws, anything but 1..6, a number that never came).
    """
    clean = _dice(throws)
    if clean is None:
        raise Refused(Reason.WEAK_KEY, f"at least {DICE_THROWS_MIN} throws of an honest die")
    mask = hashlib.sha256(DICE_TAG + clean).digest()
    return Secret(bytes(a ^ b for a, b in zip(seed.reveal(), mask, strict=True)))


def _dice(throws: Secret) -> bytes | None:
    clean = throws.reveal().translate(None, _SPACES)
    return clean if len(clean) >= DICE_THROWS_MIN and set(clean) == set(b"123456") else None
