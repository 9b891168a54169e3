"""The house's rules, read from the imports: sans-IO modules do no I/O, dependencies point down."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "seeder"

FORBIDDEN = {"trio", "httpx", "socket", "os", "time", "random"}
NO_IO = "No I/O."

# Those that must be sans-IO; whatever else says "No I/O." in its docstring is held to it too.
SANS_IO = {
    "errors",
    "config.texts",
    "units",
    "torrent.bencode",
    "torrent.bundle",
    "torrent.layout",
    "torrent.merkle",
    "torrent.info",
    "torrent.catalog",
    "torrent.objects",
    "s3.signing",
    "cache.lru",
    "tracker.announce",
    "tracker.swarm",
    "peer.messages",
    "peer.connection",
    "peer.requests",
    "upload.choker",
    "upload.superseed",
    "peer.mse",
    "ledger.counters",
    "ledger.savings",
    "http.headers",
    "gateway.access",
    "gateway.sigv4",
}

# From the ground up. A package imports itself and the layers below it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("", "errors", "units"),
    ("torrent", "net", "files"),
    ("config", "cache", "tracker", "http"),
    ("ledger", "s3"),
    ("metainfo", "upload"),
    ("peer", "publish", "gateway"),
    ("admin",),
    ("daemon",),
    ("commands",),
    ("cli",),
)


class Module:
    """One module of the package: its name below `seeder`, its docstring, what it imports."""

    def __init__(self, path: Path) -> None:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.docstring = ast.get_docstring(self.tree) or ""

    @property
    def is_sans_io(self) -> bool:
        return self.name in SANS_IO or self.says_so

    @property
    def says_so(self) -> bool:
        return any(part.endswith(NO_IO) for part in self.docstring.split("\n\n"))

    def imports(self) -> Iterator[str]:
        """Yield the dotted name of everything imported, at any depth but for type checkers."""
        for node in _run_time_nodes(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name} imports relatively"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def imported_modules(self) -> Iterator["Module"]:
        """Yield the package's own modules that this one imports."""
        for name in self.imports():
            first, _, rest = name.partition(".")
            if first != "seeder":
                continue
            # "torrent.layout.KIB" is a name in a module, "torrent.layout" a module.
            outer = rest.rpartition(".")[0]
            found = MODULES.get(rest) or MODULES.get(outer)
            if found is not None and found is not self:
                yield found

    @property
    def part(self) -> str:
        """The entry of LAYERS that this module belongs to."""
        return self.name.partition(".")[0]

    @property
    def layer(self) -> int:
        return next(number for number, parts in enumerate(LAYERS) if self.part in parts)


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield from _run_time_nodes(node)


MODULES = {module.name: module for module in map(Module, sorted(PACKAGE.rglob("*.py")))}
SANS_IO_MODULES = [name for name, module in MODULES.items() if module.is_sans_io]


@pytest.mark.parametrize("name", SANS_IO_MODULES)
def test_a_sans_io_module_says_so(name: str) -> None:
    assert MODULES[name].says_so


@pytest.mark.parametrize("name", SANS_IO_MODULES)
def test_a_sans_io_module_takes_time_and_randomness_as_arguments(name: str) -> None:
    roots = {imported.partition(".")[0] for imported in MODULES[name].imports()}
    assert not roots & FORBIDDEN


@pytest.mark.parametrize("name", SANS_IO_MODULES)
def test_a_sans_io_module_imports_only_its_like(name: str) -> None:
    others = {other.name for other in MODULES[name].imported_modules() if not other.is_sans_io}
    assert others - {""} == set()


@pytest.mark.parametrize("name", MODULES)
def test_dependencies_point_down_the_data_flow(name: str) -> None:
    module = MODULES[name]
    upward = {
        other.name
        for other in module.imported_modules()
        if other.layer >= module.layer and other.part != module.part
    }
    assert upward == set()


def test_the_rules_see_what_they_forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
import os.path
def later():
    from trio import lowlevel
    from seeder.http.server import serve
if TYPE_CHECKING:
    import random
"""
    module = MODULES["errors"]
    monkeypatch.setattr(module, "tree", ast.parse(source))
    assert list(module.imports()) == ["os.path", "trio.lowlevel", "seeder.http.server.serve"]
    with pytest.raises(AssertionError, match="trio"):
        test_a_sans_io_module_takes_time_and_randomness_as_arguments("errors")
    with pytest.raises(AssertionError, match=r"http\.server"):
        test_a_sans_io_module_imports_only_its_like("errors")
    with pytest.raises(AssertionError, match=r"http\.server"):
        test_dependencies_point_down_the_data_flow("errors")
