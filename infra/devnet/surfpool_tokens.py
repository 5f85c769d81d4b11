"""Test tokens on a local network: honest mints, and mints and accounts with odd powers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import spl.token.instructions as spl
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.models import (
    FreezeAccountParams,
    InitializeMint2Params,
    InitializeTransferFeeConfigParams,
    MintToParams,
    TransferCheckedParams,
)

from infra.devnet.surfpool import SurfpoolNode

MINT_BYTES = 82
EXTENDED_MINT_BYTES = 166
"""A mint padded to the size of a token account, and the byte that says it is a mint."""
_ENTRY_BYTES = 4
_FEE_BYTES, _DELEGATE_BYTES, _STATE_BYTES, _HOOK_BYTES = 108, 32, 1, 64
FROZEN = 2


@dataclass(frozen=True, slots=True)
class Powers:
    """What a Token-2022 mint can do beyond the ordinary."""

    fee_bp: int | None = None
    """Transfer fee in hundredths of a percent, withheld from what arrives."""
    fee_most: int = 2**63
    permanent_delegate: Pubkey | None = None
    frozen_at_birth: bool = False
    hook: Pubkey | None = None
    """Program that every transfer calls."""


NO_POWERS = Powers()


@dataclass(frozen=True, slots=True)
class Token:
    """A mint whose authority is the node's payer."""

    node: SurfpoolNode = field(repr=False)
    mint: Pubkey
    program: Pubkey
    decimals: int
    powers: Powers = NO_POWERS

    @property
    def key(self) -> str:
        """Return the mint as text: the asset's key."""
        return str(self.mint)

    def account_of(self, owner: str | Pubkey) -> Pubkey:
        """Return the associated account of an owner, whether it is there or not."""
        found: Pubkey = spl.get_associated_token_address(
            Pubkey.from_string(str(owner)), self.mint, self.program
        )
        return found

    def open(self, *owners: str | Pubkey) -> None:
        """Make the associated accounts of owners where they are missing."""
        for owner in owners:
            self.node.send([self.opening(owner)])

    def opening(self, owner: str | Pubkey) -> Instruction:
        """Return the instruction that makes the associated account of an owner."""
        return spl.create_idempotent_associated_token_account(
            self.node.payer.pubkey(), Pubkey.from_string(str(owner)), self.mint, self.program
        )

    def give(self, owner: str | Pubkey, amount: int) -> str:
        """Mint to an owner, whose account is made where it is missing; return the id."""
        return self.node.send([self.opening(owner), self.minting(self.account_of(owner), amount)])

    def minting(self, account: Pubkey, amount: int) -> Instruction:
        """Return the instruction that mints into a token account."""
        return spl.mint_to(
            MintToParams(
                program_id=self.program, mint=self.mint, dest=account,
                mint_authority=self.node.payer.pubkey(), amount=amount,
            )
        )  # fmt: skip

    def moving(self, source: Pubkey, dest: Pubkey, owner: Pubkey, amount: int) -> Instruction:
        """Return the checked transfer between two token accounts."""
        return spl.transfer_checked(
            TransferCheckedParams(
                program_id=self.program, source=source, mint=self.mint, dest=dest, owner=owner,
                amount=amount, decimals=self.decimals,
            )
        )  # fmt: skip

    def pay(self, to: str | Pubkey, amount: int) -> str:
        """Transfer from the payer, whose account is filled first; return the transfer's id."""
        source = self.account_of(self.node.payer.pubkey())
        self.give(self.node.payer.pubkey(), amount)
        self.open(to)
        owner = self.node.payer.pubkey()
        return self.node.send([self.moving(source, self.account_of(to), owner, amount)])

    def freeze(self, owner: str | Pubkey) -> None:
        """Freeze the associated account of an owner."""
        self.node.send(
            [
                spl.freeze_account(
                    FreezeAccountParams(
                        program_id=self.program, account=self.account_of(owner), mint=self.mint,
                        authority=self.node.payer.pubkey(), multi_signers=[],
                    )
                )
            ]
        )  # fmt: skip


def create_token(node: SurfpoolNode, *, decimals: int = 6) -> Token:
    """Make a mint of the first token program."""
    return _create(node, TOKEN_PROGRAM_ID, decimals, NO_POWERS, MINT_BYTES, ())


def create_token_2022(
    node: SurfpoolNode, *, decimals: int = 6, powers: Powers = NO_POWERS
) -> Token:
    """Make a mint of Token-2022 with some powers."""
    program, authority = TOKEN_2022_PROGRAM_ID, node.payer.pubkey()
    account = Keypair()
    size, before = MINT_BYTES, []
    if powers != NO_POWERS:
        size = EXTENDED_MINT_BYTES
    if powers.fee_bp is not None:
        size += _ENTRY_BYTES + _FEE_BYTES
        before.append(
            spl.initialize_transfer_fee_config(
                InitializeTransferFeeConfigParams(
                    program_id=program, mint=account.pubkey(),
                    transfer_fee_config_authority=authority,
                    withdraw_withheld_authority=authority,
                    transfer_fee_basis_points=powers.fee_bp, maximum_fee=powers.fee_most,
                )
            )
        )  # fmt: skip
    if powers.permanent_delegate is not None:
        size += _ENTRY_BYTES + _DELEGATE_BYTES
        before.append(_of_mint(account, bytes([35]) + bytes(powers.permanent_delegate)))
    if powers.frozen_at_birth:
        size += _ENTRY_BYTES + _STATE_BYTES
        before.append(_of_mint(account, bytes([28, 0, FROZEN])))
    if powers.hook is not None:
        size += _ENTRY_BYTES + _HOOK_BYTES
        before.append(_of_mint(account, bytes([36, 0]) + bytes(authority) + bytes(powers.hook)))
    return _create(node, program, decimals, powers, size, before, account)


def _of_mint(account: Keypair, data: bytes) -> Instruction:
    return Instruction(
        TOKEN_2022_PROGRAM_ID,
        data,
        [AccountMeta(account.pubkey(), is_signer=False, is_writable=True)],
    )


def _create(
    node: SurfpoolNode,
    program: Pubkey,
    decimals: int,
    powers: Powers,
    size: int,
    before: Sequence[Instruction],
    account: Keypair | None = None,
) -> Token:
    account, authority = account or Keypair(), node.payer.pubkey()
    made = create_account(
        CreateAccountParams(
            from_pubkey=authority, to_pubkey=account.pubkey(), lamports=node.rent(size),
            space=size, owner=program,
        )
    )  # fmt: skip
    begun = spl.initialize_mint2(
        InitializeMint2Params(
            program_id=program, mint=account.pubkey(), decimals=decimals,
            mint_authority=authority, freeze_authority=authority,
        )
    )  # fmt: skip
    node.send([made, *before, begun], [account])
    return Token(node, account.pubkey(), program, decimals, powers)
