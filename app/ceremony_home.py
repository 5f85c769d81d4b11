"""Where a ceremony's seed goes: where the signer's settings say that it will look for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from app.settings_signer import SignerSettings
from app.settings_values import SettingsError
from app.signer_keys import needed, text_of, token_of, vault_box
from core.entropy import Entropy
from custody.keys.ceremony import Home
from custody.keys.homes import KeystoreHome, SealedHome, SplitHome
from custody.keys.private_file import read_private_file
from custody.keys.secret import Secret
from custody.keys.signers.pkcs11_box import TokenBox


@contextlib.contextmanager
def signers_home(settings: SignerSettings, *, entropy: Entropy) -> Iterator[Home]:
    """Lend the home of the signer's seed; nothing lies in it yet.

    SettingsError: the table of the backend is not complete, or its keys are made inside the token.
    Refused: exists_with_other_content. Other errors as the boxes.
    """
    if settings.backend == "local":
        file = needed(settings.local.file, "signer.local.file")
        passphrase_file = needed(settings.local.passphrase_file, "signer.local.passphrase_file")
        passphrase = Secret(read_private_file(passphrase_file).strip())
        yield KeystoreHome(file, passphrase, entropy=entropy)
    elif settings.backend in ("vault", "both"):
        wallet = text_of(settings.vault.wallet, "signer.vault.wallet")
        seed_file = needed(settings.vault.seed_file, "signer.vault.seed_file")
        with vault_box(settings) as box:
            if settings.backend == "vault":
                yield SealedHome(seed_file, wallet, box, box_name="Vault")
                return
            module = TokenBox.open_token(*token_of(settings), entropy=entropy)
            with contextlib.closing(module):
                yield SplitHome(seed_file, wallet, first=module, second=box, entropy=entropy)
    else:
        raise SettingsError([f"signer.backend: keys of {settings.backend} have no seed to share"])
