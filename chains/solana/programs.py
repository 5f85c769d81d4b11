"""The programs that own transactions of ours may call, and the accounts that they need.

Sources: Solana documentation (native programs, sysvars), solana-program-library (token,
token-2022, associated-token-account).
"""

from __future__ import annotations

from functools import lru_cache

from chains.solana.address import derived_address, raw_address

SYSTEM = bytes(32)
COMPUTE_BUDGET = raw_address("ComputeBudget111111111111111111111111111111")
TOKEN = raw_address("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = raw_address("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED = raw_address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
RECENT_BLOCKHASHES = raw_address("SysvarRecentB1ockHashes11111111111111111111")
INCINERATOR = raw_address("1nc1nerator11111111111111111111111111111111")

TOKEN_PROGRAMS = (TOKEN, TOKEN_2022)

RENT_PER_BYTE = 6_960
"""Lamports that keep one byte of an account for ever: 3,480 a year, two years. Source: rent."""
ACCOUNT_OVERHEAD = 128
"""Bytes that every account has beside its data. Source: rent."""
BALANCE_LEAST = ACCOUNT_OVERHEAD * RENT_PER_BYTE
"""Lamports that an account without data holds at least, or none. Source: rent."""
OPENING_COST = {
    TOKEN: (ACCOUNT_OVERHEAD + 165) * RENT_PER_BYTE,
    TOKEN_2022: (ACCOUNT_OVERHEAD + 256) * RENT_PER_BYTE,
}
"""Most lamports that it costs to open a token account: 165 bytes, or with extensions up to 256."""
KNOWN = frozenset(
    {
        SYSTEM,
        COMPUTE_BUDGET,
        *TOKEN_PROGRAMS,
        ASSOCIATED,
        RECENT_BLOCKHASHES,
        INCINERATOR,
        *(
            raw_address(text)
            for text in (
                "Vote111111111111111111111111111111111111111",
                "Stake11111111111111111111111111111111111111",
                "Config1111111111111111111111111111111111111",
                "BPFLoader1111111111111111111111111111111111",
                "BPFLoader2111111111111111111111111111111111",
                "BPFLoaderUpgradeab1e11111111111111111111111",
                "AddressLookupTab1e1111111111111111111111111",
                "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr",
                "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo",
                "Ed25519SigVerify111111111111111111111111111",
                "KeccakSecp256k11111111111111111111111111111",
                "NativeLoader1111111111111111111111111111111",
                "Sysvar1111111111111111111111111111111111111",
                "SysvarC1ock11111111111111111111111111111111",
                "SysvarRent111111111111111111111111111111111",
                "Sysvar1nstructions1111111111111111111111111",
                "SysvarS1otHashes111111111111111111111111111",
                "SysvarStakeHistory1111111111111111111111111",
                "So11111111111111111111111111111111111111112",
            )
        ),
    }
)
"""Addresses that nobody has the key of: programs, sysvars, the mint of wrapped coins."""


@lru_cache(maxsize=1 << 16)
def token_account(owner: bytes, mint: bytes, program: bytes) -> bytes:
    """Return the derived token account of an owner for a mint of a token program."""
    return derived_address((owner, program, mint), ASSOCIATED)
