"""Imports all of custody, where the tables stand, so that custody.db.metadata knows them all."""

from __future__ import annotations

import importlib
import pkgutil

import custody
from custody.db import metadata


def all_tables() -> tuple[str, ...]:
    """Return the names of all tables, in the order in which they can be created."""
    for module in pkgutil.walk_packages(custody.__path__, "custody."):
        importlib.import_module(module.name)
    return tuple(table.name for table in metadata.sorted_tables)
