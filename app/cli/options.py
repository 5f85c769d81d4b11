"""The global options as commands see them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings


class Chosen:
    """What stood before the noun; set once."""

    config_file: Path | None = None


def settings() -> Settings:
    """Read the chosen settings. SettingsError lists what is wrong with them."""
    from app.settings import read_settings

    return read_settings(Chosen.config_file)
