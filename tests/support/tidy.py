"""The rules of style that a machine can see: pure functions from a file's text to complaints."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

LINE_LENGTH_MAX = 100
FILE_LINES_MAX = 400
STANDS_ALONE = {"custody/reserves/verify.py": 650}
"""A file that strangers run without the others, and its own bound."""
FUNCTION_LINES_MAX = 70

PRODUCT_ROOMS = ("core", "engine", "chains", "custody", "indexers", "sweeper", "app")
CHAIN_WORDS = re.compile(r"bitcoin|ethereum|solana|(?<![a-z])evm(?![a-z])", re.IGNORECASE)
WALL_CLOCKS = {"time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.ctime"}
DATE_CLOCKS = re.compile(r"(^|\.)(datetime\.(now|utcnow|today)|date\.today)$")
FREE_ENTROPY = re.compile(
    r"^(os\.urandom|secrets\.(token_|randbits|randbelow|choice)\w*|uuid\.uuid[14])$"
)
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}
MAY_CATCH_ALL = {"app/workers.py", "app/shielded.py"}
BROAD = {"Exception", "BaseException"}
SKIPS = re.compile(r"^pytest\.(skip|xfail|importorskip|mark\.(skip|skipif|xfail))$")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One line that breaks one rule."""

    rule: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


@dataclass(frozen=True)
class Page:
    """One Python file: its path from the root, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """Return the top-level folder."""
        return self.path.split("/")[0]

    @property
    def is_product(self) -> bool:
        """Return whether the file is part of what is installed."""
        return self.room in PRODUCT_ROOMS

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Return every node of the tree; many rules look at all of them."""
        return tuple(ast.walk(self.tree))


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of attributes, and the empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        prefix = dotted(node.value)
        return f"{prefix}.{node.attr}" if prefix else ""
    return ""


def calls(page: Page) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every call."""
    for node in page.nodes:
        if isinstance(node, ast.Call):
            yield node.lineno, dotted(node.func)


def names(page: Page) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything spelled out, imports from modules included."""
    for node in page.nodes:
        if isinstance(node, ast.Attribute):
            yield node.lineno, dotted(node)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def imports(page: Page) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import."""
    for node in page.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def long_lines(page: Page) -> Iterator[int]:
    """A line has at most 100 characters."""
    for number, line in enumerate(page.text.splitlines(), 1):
        if len(line) > LINE_LENGTH_MAX:
            yield number


def long_file(page: Page) -> Iterator[int]:
    """A file has at most 400 lines."""
    most = STANDS_ALONE.get(page.path, FILE_LINES_MAX)
    if page.text.count("\n") > most:
        yield most + 1


def long_functions(page: Page) -> Iterator[int]:
    """A function has at most 70 lines, signature and docstring included."""
    for node in page.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX:
                yield node.lineno


def floats(page: Page) -> Iterator[int]:
    """No float( where there is money: everywhere but in app's display."""
    if page.is_product and page.room != "app":
        yield from (line for line, name in calls(page) if name == "float")


def prints(page: Page) -> Iterator[int]:
    """Product code logs or returns; it does not print."""
    if page.is_product:
        yield from (line for line, name in calls(page) if name == "print")


def wall_clocks(page: Page) -> Iterator[int]:
    """Only core/clock.py asks the machine for the time of day."""
    if page.is_product and page.path != "core/clock.py":
        for line, name in names(page):
            if name in WALL_CLOCKS or DATE_CLOCKS.search(name):
                yield line


def free_randomness(page: Page) -> Iterator[int]:
    """Only core/entropy.py draws random bytes, so that a seed reproduces a run."""
    if page.is_product and page.path != "core/entropy.py":
        yield from (line for line, name in imports(page) if name.split(".")[0] == "random")
        yield from (line for line, name in names(page) if FREE_ENTROPY.match(name))


def environment_reads(page: Page) -> Iterator[int]:
    """Only app reads the environment."""
    if page.is_product and page.room != "app":
        yield from (line for line, name in names(page) if name in ENVIRONMENT)


def chain_words(page: Page) -> Iterator[int]:
    """Only chains knows a chain by name."""
    if page.is_product and page.room != "chains":
        for number, line in enumerate(page.text.splitlines(), 1):
            if CHAIN_WORDS.search(line):
                yield number


def broad_excepts(page: Page) -> Iterator[int]:
    """Only the worker loop and what answers strangers catch what they cannot name."""
    if not page.is_product or page.path in MAY_CATCH_ALL:
        return
    for node in page.nodes:
        caught: list[ast.expr | None]
        if isinstance(node, ast.ExceptHandler):
            caught = [*node.type.elts] if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("suppress"):
            caught = [*node.args]
        else:
            continue
        if any(kind is None or dotted(kind) in BROAD for kind in caught):
            yield node.lineno


def skipped_tests(page: Page) -> Iterator[int]:
    """No test is skipped or expected to fail."""
    if page.room == "tests":
        yield from (line for line, name in names(page) if SKIPS.match(name))


RULES: dict[str, Callable[[Page], Iterator[int]]] = {
    "line longer than 100": long_lines,
    "file longer than 400 lines": long_file,
    "function longer than 70 lines": long_functions,
    "float( in a money room": floats,
    "print( in a product room": prints,
    "wall clock read outside core/clock.py": wall_clocks,
    "randomness drawn outside core/entropy.py": free_randomness,
    "environment read outside app": environment_reads,
    "chain named outside chains": chain_words,
    "broad except outside app/workers.py": broad_excepts,
    "test skipped or expected to fail": skipped_tests,
}


def complaints(path: str, text: str) -> list[Complaint]:
    """Return every complaint about one Python file, in the order of its lines."""
    page = Page(path=path, text=text, tree=ast.parse(text, path))
    found = {Complaint(rule, path, line) for rule, check in RULES.items() for line in check(page)}
    return sorted(found, key=lambda complaint: (complaint.line, complaint.rule))
