"""The random commands of the laboratory, under the names that tests know them by."""

from __future__ import annotations

from engine.laboratory.drawn import ASSETS, MARKETS, Commands

__all__ = ["ASSETS", "MARKETS", "Commands"]
