"""Messages for tests: honest ones by the builder, and a writer for those that are not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solders.keypair import Keypair

from chains.base import NATIVE, FeeRate, SpendIntent, SpendKind, UnsignedTx
from chains.solana import programs
from chains.solana.address import to_text
from chains.solana.build import Facts, build
from chains.solana.message import Instruction, Message, read_message
from chains.solana.params import SolanaParams
from core.ids import ChainId


def keypair(name: str) -> Keypair:
    """Return a key that a name stands for, always the same."""
    return Keypair.from_seed(name.encode().ljust(32, b"."))


HOT, GAS, DEPOSIT, NONCE, STRANGER, RECEIVER, MINT, OTHER_MINT = (
    keypair(name)
    for name in ("hot", "gas", "deposit", "nonce", "stranger", "receiver", "mint", "other mint")
)
MINT_TEXT, OTHER_MINT_TEXT = str(MINT.pubkey()), str(OTHER_MINT.pubkey())
VALUE = bytes(range(32))
PARAMS = SolanaParams(
    chain=ChainId("local"),
    genesis_hash=to_text(b"\x07" * 32),
    fee_floor=1,
    fee_cap=1_000,
    scales={MINT_TEXT: 6, OTHER_MINT_TEXT: 9},
    tickets=(str(NONCE.pubkey()),),
)
RATE = FeeRate(7, 7)
FEE_MAX = 10_000_000


def raw(key: Keypair) -> bytes:
    """Return the 32 bytes of a key's address."""
    return bytes(key.pubkey())


def intent_of(
    source: Keypair = HOT,
    destination: Keypair = RECEIVER,
    *,
    amount: int = 1_234,
    asset_key: str = NATIVE,
    kind: SpendKind = SpendKind.WITHDRAWAL,
    params: SolanaParams = PARAMS,
    fee_max: int = FEE_MAX,
) -> SpendIntent:
    """Return an intent; of a cancellation only its source matters."""
    cancels = kind is SpendKind.CANCELLATION
    return SpendIntent(
        spend_id="spend",
        kind=kind,
        cause_id="cause",
        chain=params.chain,
        network=params.network,
        asset_key=NATIVE if cancels else asset_key,
        source=str(source.pubkey()),
        destination=str((source if cancels else destination).pubkey()),
        amount=0 if cancels else amount,
        fee_max=fee_max,
    )


def facts_of(
    payer: Keypair = HOT,
    *,
    token_program: bytes = b"",
    opens: bool = False,
    closes: bool = False,
) -> Facts:
    """Return what the chain might say."""
    missing = frozenset({str(RECEIVER.pubkey())} if opens else ())
    return Facts(raw(NONCE), VALUE, raw(payer), token_program, missing, closes)


def built(intent: SpendIntent, facts: Facts, *, units: int = 92) -> UnsignedTx:
    """Return what the builder makes."""
    return build(intent, PARAMS, facts, rate=RATE, units=units)


NATIVE_PAYMENT = built(intent_of(), facts_of())
TOKEN_PAYMENT = built(intent_of(asset_key=MINT_TEXT), facts_of(token_program=programs.TOKEN))
OPENING_PAYMENT = built(
    intent_of(asset_key=MINT_TEXT), facts_of(token_program=programs.TOKEN_2022, opens=True)
)
SWEEP = built(
    intent_of(DEPOSIT, HOT, asset_key=MINT_TEXT, kind=SpendKind.SWEEP),
    facts_of(GAS, token_program=programs.TOKEN, closes=True),
)
CANCELLATION = built(intent_of(kind=SpendKind.CANCELLATION), facts_of())


def compact(number: int) -> bytes:
    """Return a compact number in its one spelling."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def written(message: Message, *, lookups: bytes = b"\0") -> bytes:
    """Return the bytes of a message, however wrong it is."""
    calls = b"".join(
        bytes((call.program,))
        + compact(len(call.accounts))
        + call.accounts
        + compact(len(call.data))
        + call.data
        for call in message.instructions
    )
    return b"".join(
        (
            b"" if message.is_legacy else b"\x80",
            bytes((message.signers, message.readonly_signers, message.readonly_others)),
            compact(len(message.keys)),
            *message.keys,
            message.blockhash,
            compact(len(message.instructions)),
            calls,
            b"" if message.is_legacy else lookups,
        )
    )


@dataclass(slots=True)
class Draft:
    """A message whose calls are edited by key, not by place; it is compiled like an honest one."""

    payer: bytes
    blockhash: bytes
    calls: list[Call]
    named: list[bytes]

    def compiled(self) -> bytes:
        """Return the message with every role as its calls ask for it."""
        signing, changing = {self.payer}, {self.payer}
        order = [self.payer]
        for call in self.calls:
            for key, signs, changes in call.accounts:
                signing |= {key} if signs else set()
                changing |= {key} if changes else set()
        every = [key for call in self.calls for key, *_ in call.accounts]
        every += [call.program for call in self.calls] + self.named
        for key in every:
            if key not in order:
                order.append(key)
        order.sort(key=lambda key: (key not in signing, key not in changing))
        order.remove(self.payer)
        order.insert(0, self.payer)
        places = {key: place for place, key in enumerate(order)}
        calls = tuple(
            Instruction(
                places[call.program], bytes(places[key] for key, *_ in call.accounts), call.data
            )
            for call in self.calls
        )
        return written(
            Message(
                is_legacy=False,
                signers=len(signing),
                readonly_signers=len(signing - changing),
                readonly_others=len(set(order) - signing - changing),
                keys=tuple(order),
                blockhash=self.blockhash,
                instructions=calls,
            )
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A call by key: (key, signs, is changed) of each account."""

    program: bytes
    accounts: tuple[tuple[bytes, bool, bool], ...]
    data: bytes


def draft_of(payload: bytes) -> Draft:
    """Return an honest message to be edited."""
    message = read_message(payload)
    used = {place for call in message.instructions for place in (call.program, *call.accounts)}
    return Draft(
        payer=message.keys[0],
        blockhash=message.blockhash,
        calls=[
            Call(
                message.keys[call.program],
                tuple(
                    (message.keys[at], message.is_signer(at), message.is_writable(at))
                    for at in call.accounts
                ),
                call.data,
            )
            for call in message.instructions
        ],
        named=[key for place, key in enumerate(message.keys) if place not in used],
    )


def with_key(call: Call, place: int, key: bytes) -> Call:
    """Return a call with another account at a place, in the same role."""
    accounts = list(call.accounts)
    accounts[place] = (key, *accounts[place][1:])
    return replace(call, accounts=tuple(accounts))
