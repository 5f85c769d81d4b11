"""A throw-away token in software (SoftHSM) in a folder of its own. Never for keys with value."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.devnet.servers import temporary_folder

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    *sorted(Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
CONFIGURATION = "SOFTHSM2_CONF"
"""The variable in which the module looks for its configuration, when it is initialised."""
SO_PIN = "throw-away-so-pin"
PIN = "throw-away-user-pin"

_numbers = itertools.count(1)


class SoftHsmMissing(Exception):
    """SoftHSM is not on this machine; `make test` installs it."""


def softhsm_module() -> Path:
    """Return the path of the PKCS#11 module."""
    for path in MODULES:
        if path.exists():
            return path
    raise SoftHsmMissing("run infra/scripts/softhsm.sh")


class SoftHsm:
    """A folder of tokens with its own configuration, a token in it, and a file with its PIN."""

    def __init__(self, folder: Path, label: str = "") -> None:
        """Find what stands in a folder; `make` puts it there."""
        self.module = softhsm_module()
        self.folder, self.tokens = folder, folder / "tokens"
        self.configuration, self.pin_file = folder / "softhsm2.conf", folder / "pin"
        self.label = label

    @classmethod
    def make(cls, label: str = "", *, resets_on_fork: bool = True) -> SoftHsm:
        """Make a folder with one token.

        resets_on_fork: whether a child has to initialise the module again, as hardware demands.
        """
        made = cls(temporary_folder("softhsm"))
        made.tokens.mkdir()
        made.configuration.write_text(
            f"directories.tokendir = {made.tokens}\n"
            "objectstore.backend = file\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
            "slots.mechanisms = ALL\n"
            f"library.reset_on_fork = {str(resets_on_fork).lower()}\n"
        )
        made.pin_file.touch(0o600)
        made.pin_file.write_text(PIN)
        made.label = made.add_token(label)
        return made

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a process that is to see these tokens."""
        return os.environ | {CONFIGURATION: str(self.configuration)}

    def activate(self) -> None:
        """Let this process see these tokens from the module's next initialisation on."""
        os.environ[CONFIGURATION] = str(self.configuration)

    def add_token(self, label: str = "", *, pin: str = PIN) -> str:
        """Make one more token and return its label.

        A process that has initialised the module sees it only after doing so again.
        """
        label = label or f"strongroom-{next(_numbers)}"
        self._util("--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", pin)
        return label

    def reinitialise(self, *, pin: str = PIN) -> None:
        """Make the token blank under the same label: every key in it is lost."""
        words = ("--token", self.label, "--label", self.label)
        self._util("--init-token", *words, "--so-pin", SO_PIN, "--pin", pin)

    def take_away(self) -> None:
        """Take the tokens out, as one pulls a plug."""
        self.tokens.rename(self.folder / "taken-away")

    def put_back(self) -> None:
        """Put the tokens back in."""
        (self.folder / "taken-away").rename(self.tokens)

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _util(self, *words: str) -> None:
        # These PINs protect nothing, so they may stand where `ps` shows them.
        done = subprocess.run(
            ["softhsm2-util", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def softhsm(label: str = "", *, resets_on_fork: bool = True) -> Iterator[SoftHsm]:
    """Lend what SoftHsm.make makes; it goes with the block."""
    made = SoftHsm.make(label, resets_on_fork=resets_on_fork)
    try:
        yield made
    finally:
        made.remove()
