"""Native kernels of chains, each beside the readable Python that is its specification.

`_blocks` walks over the blocks of chains.bitcoin.block and keeps the keys of chains.bitcoin.watch.
"""

from __future__ import annotations

import importlib.util

IS_BUILT = importlib.util.find_spec("chains.native._blocks") is not None
"""Whether this installation was built where a compiler was."""
