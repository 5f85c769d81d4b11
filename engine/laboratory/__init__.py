"""The laboratory: what the engine is asked, how long it takes, and whether both engines agree.

Everything here goes through the engine's public seam; `strongroom engine` is its command line.
"""
