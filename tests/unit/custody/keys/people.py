"""The people of a ceremony, acted: they answer, copy pages down and read them back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import ChainTraits
from core.clock import ManualClock
from core.entropy import Entropy, SeededEntropy
from core.errors import Reason, Refused
from custody.keys.ceremony import Ceremony, Home, Order
from custody.keys.key_facts import Network
from custody.keys.secret import Secret
from custody.keys.share_delivery import Delivery, OnScreen
from custody.keys.shares import Scheme
from custody.keys.signers.base import Signer
from custody.keys.signers.seeded import SeededSigner
from tests.unit.custody.keys.networks import traits

HOLDERS = ("cy", "di", "ed", "fay", "gus")
ADA, BEN = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
NETWORKS = (
    Network(traits(), lambda key: "one" + key.hex()),
    Network(traits(chain="edwards", curve="ed25519", coin_type=501), lambda key: key.hex()),
)
ORDER = Order(
    ceremony="test-1",
    presiding="ada",
    witness="ben",
    holders=HOLDERS,
    networks=NETWORKS,
    scheme=Scheme(iteration_exponent=0),
    tool="strongroom test",
    machine="a test",
)
Habit = Callable[[str, list[str]], str]


class People:
    """A terminal with obedient people; `habit` says how a holder reads a page's words back."""

    def __init__(self, *, answers: Iterable[str] = (), habit: Habit | None = None) -> None:
        self.said: list[str] = []
        self.pages: list[str] = []
        self.asked: list[str] = []
        self.no_to = ""
        self._answers = iter(answers)
        self._habit = habit or (lambda _title, words: " ".join(words))
        self._paper: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def confirm(self, question: str) -> None:
        self.said.append(question)
        if self.no_to and self.no_to in question:
            raise Refused(Reason.REJECTED_BY_OFFICER, "answered with no")

    def ask_secret(self, question: str) -> Secret:
        self.asked.append(question)
        return Secret(next(self._answers).encode())

    def show_page(self, title: str, lines: Sequence[str]) -> None:
        self.pages.append("\n".join([title, *lines]))
        found = re.findall(r"(\d+)\. ([a-z]+)", " ".join(lines))
        self._paper = [word for _, word in sorted((int(place), word) for place, word in found)]

    def ask_page(self, title: str, is_complete: Callable[[Secret], bool]) -> Secret:
        self.asked.append(title)
        if title.startswith("Throw"):
            typed = Secret(next(self._answers).encode())
        else:
            typed = Secret(self._habit(title, [*self._paper]).encode())
        is_complete(typed)
        return typed

    @property
    def seen_by_all(self) -> str:
        """Return everything that was not on a page of its own."""
        return "\n".join([*self.said, *self.asked])


class MemoryHome:
    """A home in memory, which may be asked to misbehave."""

    about = "memory of a test"

    def __init__(self, *, main_networks: bool = False) -> None:
        self.seed: Secret | None = None
        self.returns: Secret | None = None
        self.for_main_networks = main_networks

    def store(self, seed: Secret) -> None:
        self.seed = seed

    def open(self, traits: ChainTraits) -> Signer:
        seed = self.returns or self.seed
        assert seed is not None
        return SeededSigner(seed, traits)


def ceremony(
    people: People,
    home: Home | None = None,
    *,
    order: Order = ORDER,
    delivery: Delivery | None = None,
    entropy: Entropy | None = None,
    officers: tuple[Ed25519PrivateKey, Ed25519PrivateKey] = (ADA, BEN),
) -> Ceremony:
    """Return a ceremony of these people, not yet held."""
    return Ceremony(
        order,
        home or MemoryHome(),
        officers,
        people,
        delivery or OnScreen(people),
        entropy=entropy or SeededEntropy(7, "ceremony"),
        clock=ManualClock(1_790_000_000 * 10**9),
    )
