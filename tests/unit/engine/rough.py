"""The weather of the laboratory, under the names that tests know it by."""

from __future__ import annotations

from engine.laboratory.weather import (
    EDGE,
    WEATHER,
    DeepQueues,
    Enormous,
    FarPrices,
    FewLevels,
    Fine,
    Rough,
    TightLimits,
)

__all__ = [
    "EDGE",
    "WEATHER",
    "Rough",
    "FarPrices",
    "TightLimits",
    "FewLevels",
    "Enormous",
    "DeepQueues",
    "Fine",
]
