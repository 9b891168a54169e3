"""The house's rules, read from its source: seeder/README.md has them in words."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import house

PACKAGE = Path(__file__).parent.parent / "seeder"

FORBIDDEN = {"trio", "httpx", "socket", "os", "time", "random"}
NO_IO = "No I/O."
CORRIDOR = {"__main__.py", "cli.py", "errors.py", "units.py", "files.py", "plain_json.py"}

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
    "torrent.torrent",
    "torrent.publications",
    "torrent.catalog",
    "torrent.objects",
    "s3.signing",
    "s3.notifications",
    "cache.lru",
    "tracker.announce",
    "tracker.swarm",
    "peer.messages",
    "peer.connection",
    "peer.requests",
    "upload.choker",
    "upload.superseed",
    "upload.plans",
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
    ("torrent", "net", "files", "plain_json"),
    ("config", "cache", "tracker", "http"),
    ("ledger", "s3"),
    ("cluster",),
    ("metainfo", "upload"),
    ("peer", "publish", "events", "gateway"),
    ("admin",),
    ("control",),
    ("daemon",),
    ("commands",),
    ("cli",),
    ("__main__",),
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
        """Yield the dotted name of everything imported, at any depth, for type checkers too."""
        for node in ast.walk(self.tree):
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


MODULES = {module.name: module for module in map(Module, sorted(PACKAGE.rglob("*.py")))}
PACKAGES = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
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


def test_few_modules_stand_outside_a_room() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", *CORRIDOR}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_says_what_flows_through_it(package: Path) -> None:
    described = MODULES[package.name].docstring
    assert len(described.splitlines()) >= 3
    assert len(ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body) == 1


@pytest.mark.parametrize("name", MODULES)
def test_no_exception_instance_is_raised_twice(name: str) -> None:
    """Each raise appends to the instance's traceback, which keeps every frame alive."""
    assert set(_raised_again(MODULES[name].tree)) == set()


def _raised_again(tree: ast.Module) -> Iterator[str]:
    """Yield what is raised and may have been raised before, since somebody keeps it.

    That is what a module or a class makes for all to share, what an argument is by default, and
    what is taken from an attribute (of any object), also by way of a variable. Whoever has to tell
    several keeps the words, and makes an exception of them for each.
    """
    kept = {made for node in ast.walk(tree) for made in _kept_instances(node)}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            kept_here = kept | set(_kept_by_default(function)) | set(_taken(function))
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    raised = ast.unparse(node.exc)
                    if raised in kept_here or _is_kept(node.exc):
                        yield raised


def _is_kept(value: ast.AST | None) -> bool:
    """Tell whether a value is an attribute, or lies in one; `errors.Refused` is a class."""
    while isinstance(value, ast.Subscript):
        value = value.value
    return isinstance(value, ast.Attribute) and not value.attr[:1].isupper()


def _taken(function: ast.AST) -> Iterator[str]:
    """Yield the variables that a function gives what it takes from an attribute."""
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign) and _is_kept(node.value):
            targets = node.targets
        else:
            source = getattr(node, "iter" if isinstance(node, ast.For) else "value", None)
            if isinstance(node, ast.NamedExpr | ast.For) and _is_kept(source):
                targets = [node.target]
        yield from map(ast.unparse, targets)


def _kept_by_default(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the arguments whose default is made by a call, once for all calls."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    pairs = [
        *zip(reversed(positional), reversed(given.defaults), strict=False),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]
    yield from (name.arg for name, default in pairs if isinstance(default, ast.Call))


def _kept_instances(node: ast.AST) -> Iterator[str]:
    """Yield the names that a module or a class gives what it makes by a call, for all to share."""
    if not isinstance(node, ast.Module | ast.ClassDef):
        return
    for each in node.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and isinstance(each.value, ast.Call):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            for name in map(ast.unparse, targets):
                yield from (name, f"self.{name}", f"cls.{name}")


@pytest.mark.parametrize(
    "findings",
    [
        house.import_cycles,
        house.unused_public_definitions,
        house.unused_private_definitions,
        house.duplicate_public_class_names,
        house.ambiguous_constants,
        house.updates_across_awaits,
        house.uncited_comments,
    ],
)
def test_the_house_is_in_order(findings: Callable[[], list[str]]) -> None:
    assert findings() == []


def test_httpx_is_known_to_two_modules() -> None:
    users = {
        module.name
        for module in MODULES.values()
        for imported in module.imports()
        if imported.partition(".")[0] == "httpx"
    }
    assert users == {"s3.transport", "commands.control.client"}


def test_the_rules_see_what_they_forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
import os.path
def later():
    from trio import lowlevel
    from seeder.http.server import serve
if TYPE_CHECKING:
    import random
REFUSED = Refused("too often")
class Door:
    closed: Refused = Refused("closed")
    def open(self):
        if late:
            raise self.closed
        raise REFUSED
    def knock(self, refusal=Refused("by default")):
        raise refusal
    def wait(self):
        if self.fault is not None:
            raise self.fault
        if cause := self.causes[0]:
            raise cause
        for error in self.errors:
            raise error
        raise errors.Refused
"""
    module = MODULES["errors"]
    monkeypatch.setattr(module, "tree", ast.parse(source))
    found = {"os.path", "random", "trio.lowlevel", "seeder.http.server.serve"}
    assert set(module.imports()) == found
    again = {"REFUSED", "self.closed", "refusal", "self.fault", "cause", "error"}
    assert set(_raised_again(module.tree)) == again
    with pytest.raises(AssertionError, match=r"REFUSED.*|self\.closed.*"):
        test_no_exception_instance_is_raised_twice("errors")
    with pytest.raises(AssertionError, match="trio"):
        test_a_sans_io_module_takes_time_and_randomness_as_arguments("errors")
    with pytest.raises(AssertionError, match=r"http\.server"):
        test_a_sans_io_module_imports_only_its_like("errors")
    with pytest.raises(AssertionError, match=r"http\.server"):
        test_dependencies_point_down_the_data_flow("errors")
