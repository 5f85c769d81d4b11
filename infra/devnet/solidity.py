"""Compiles contracts/src with the pinned compiler; keeps results under the hash of their causes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.devnet.nodes import NodesNotInstalled

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ROOT / "contracts" / "src"
CACHE = ROOT / "var" / "contracts"
COMPILE_TIMEOUT_S = 120
DEPRECATED_SELFDESTRUCT = "5159"

SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 200},
    "metadata": {"bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}


class CompilationFailed(Exception):
    """The compiler complained; carries its own words. A warning is a complaint."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One contract. bytecode is 0x-prefixed hex, to be followed by the constructor's arguments."""

    name: str
    source: str
    abi: list[dict[str, Any]]
    bytecode: str


def artifacts(sources: Path = SOURCES, cache: Path = CACHE) -> dict[str, Artifact]:
    """Return every contract below sources by its name, compiled unless that was done before."""
    texts = {
        path.relative_to(sources).as_posix(): path.read_text("utf-8")
        for path in sorted(sources.rglob("*.sol"))
    }
    stored = cache / f"{_cause(texts)}.json"
    if not stored.exists():
        compiled = compile_sources(texts, sources)
        cache.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: two processes may compile at once, and either result will do.
        draft = stored.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(compiled), "utf-8")
        draft.replace(stored)
    entries: list[dict[str, Any]] = json.loads(stored.read_text("utf-8"))
    return {entry["name"]: Artifact(**entry) for entry in entries}


def _cause(texts: dict[str, str]) -> str:
    lock = (HERE / "package-lock.json").read_text("utf-8")
    cause = json.dumps([texts, SETTINGS, lock], sort_keys=True)
    return hashlib.sha256(cause.encode()).hexdigest()[:24]


def compile_sources(texts: dict[str, str], folder: Path) -> list[dict[str, Any]]:
    """Return name, source, abi and bytecode of every deployable contract in texts."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules/solc").is_dir():
        raise NodesNotInstalled("the Solidity compiler is not installed: run `make devnet`")
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in texts.items()},
        "settings": SETTINGS,
    }
    answer = subprocess.run(
        [node, str(HERE / "compile.js"), str(folder)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT_S,
        check=False,
    )
    if answer.returncode != 0:
        raise CompilationFailed(answer.stderr)
    output = json.loads(answer.stdout)
    complaints = [
        error["formattedMessage"]
        for error in output.get("errors", [])
        if error.get("errorCode") != DEPRECATED_SELFDESTRUCT
    ]
    if complaints:
        raise CompilationFailed("\n".join(complaints))
    return [
        {
            "name": name,
            "source": source,
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
        }
        for source in texts
        for name, contract in sorted(output["contracts"][source].items())
        if contract["evm"]["bytecode"]["object"]
    ]
