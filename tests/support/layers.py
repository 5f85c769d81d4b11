"""An import contract that names what may be imported; the built-in ones name what may not."""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def _is_inside(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


class OnlyContract(Contract):
    """Each of `sources` imports, itself and the standard library aside, only `may_import`.

    With `among` only imports of those packages are judged. Imports are direct ones: what an allowed
    module imports in its turn is the business of that module's own contract.
    """

    type_name = "only"

    # import-linter replaces each field by its parsed value when the contract is made.
    sources: list[str] = fields.ListField(subfield=fields.StringField())  # type: ignore[assignment]
    may_import: list[str] = fields.ListField(  # type: ignore[assignment]
        subfield=fields.StringField()
    )
    among: list[str] = fields.ListField(  # type: ignore[assignment]
        subfield=fields.StringField(), required=False, default=[]
    )

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """List every direct import that is not allowed, with the lines where it stands."""
        broken = [f"{name} does not exist" for name in self.sources if name not in graph.modules]
        for module in sorted(graph.modules):
            source = next((s for s in self.sources if _is_inside(module, [s])), None)
            if source is None or graph.is_module_squashed(module):
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                if self.among and not _is_inside(imported, self.among):
                    continue
                if imported.split(".")[0] in sys.stdlib_module_names:
                    continue
                if _is_inside(imported, [*self.may_import, source]):
                    continue
                details = graph.get_import_details(importer=module, imported=imported)
                lines = ", ".join(str(detail["line_number"]) for detail in details)
                broken.append(f"{module} imports {imported} (line {lines})")
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line per import that is not allowed."""
        for line in check.metadata["broken"]:
            output.print_error(line)
