"""Checks of the whole house, read from its source: dead code, double names, cycles and the like.

Each check returns its findings, one line each; an empty list is a pass. It takes the sources to
look at, by module name; by default those of seeder/.
"""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parent.parent
Sources: TypeAlias = Mapping[str, str]
"""Source texts by module name, such as "seeder.torrent.info"; a package is its `__init__.py`."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
# A decorator that hands the function to whoever calls it by other means than its name.
_REGISTERING = re.compile(r"\.(command|group|callback)\(|^(field|model)_(validator|serializer)\(")
_BY_TEXT = frozenset({"getattr", "attrgetter", "methodcaller"})
_REFLECTED = frozenset({"Enum", "IntEnum", "JsonObject", "OpenObject", "QueryObject"})
"""Bases of classes whose members are found by iteration or by their text, not by their names."""
_UPPER = re.compile(r"[A-Z][A-Z0-9_]*")


ALLOWED = (
    "BudgetSettings.*",  # read by `amounts`, all of them
    "CacheStatistics.*",  # read by the status page, all of them
    "NodeFigures.*",  # read by `values`, all of them
    "JsonObject.model_config",  # pydantic
    "Settings.model_config",  # pydantic
    "_Text.convert",  # click
    "_Commands.format_commands",
    "_Piece._fields_",  # ctypes
    "_Head._fields_",  # ctypes
    "_Message._fields_",  # ctypes
    "_Few.collect",  # prometheus_client
    "Resolver.getnameinfo",  # trio
    "Transport.handle_async_request",  # httpx
    "_Client.cookies",  # httpx
    "Passes.after_io_wait",  # trio
    "Passes.before_io_wait",  # trio
    "PatientHandler.emit",  # logging
    "_NoCookies.extract_cookies",  # httpx
)
"""Definitions of seeder/ that are used otherwise than by their names."""


def seeder_sources() -> Sources:
    """Return the source of every module of seeder/."""
    return _sources_below("seeder")


def test_sources() -> Sources:
    """Return the source of every module of tests/."""
    return _sources_below("tests")


test_sources.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


@cache
def _sources_below(folder: str) -> Sources:
    sources = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


# -- definitions that nothing uses


@dataclass(frozen=True, slots=True)
class _Definition:
    """A function, class or constant of a module, or a member of one of its classes."""

    module: str
    name: str
    owner: str = ""
    """The class of a member."""
    line: int = field(default=0, compare=False)
    is_exempt: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        owner = f"{self.owner}." if self.owner else ""
        return f"{self.module}:{self.line} {owner}{self.name}"

    @property
    def is_public(self) -> bool:
        return not (self.name.startswith("_") or self.owner.startswith("_"))


@dataclass(slots=True)
class _Uses:
    """Who reads what: members by their bare names, the rest by module and name."""

    members: defaultdict[str, set[_Definition | str]] = field(
        default_factory=lambda: defaultdict(set)
    )
    matched: defaultdict[str, set[_Definition | str]] = field(
        default_factory=lambda: defaultdict(set)
    )
    """By class, whose fields a pattern reads in their order."""
    globals: defaultdict[tuple[str, str], set[_Definition | str]] = field(
        default_factory=lambda: defaultdict(set)
    )

    def of(self, definition: _Definition) -> set["_Definition | str"]:
        if definition.owner:
            return self.members[definition.name] | self.matched[definition.owner]
        return self.globals[definition.module, definition.name]


def unused_public_definitions(
    sources: Sources | None = None, allowed: Iterable[str] = ALLOWED
) -> list[str]:
    """Return the public definitions that no living line of the sources reads.

    Functions, classes, constants, and the methods, properties and fields of classes. What only dead
    definitions use is dead too. Members are told by their bare names: one that is read anywhere
    keeps all its namesakes alive, and so does a method of dict or file that is called like it.
    `allowed` has the names of what is used otherwise: "name", "Class.member" or "Class.*".
    """
    return [str(each) for each in _unused(sources, frozenset(allowed)) if each.is_public]


def unused_private_definitions(sources: Sources | None = None) -> list[str]:
    """Return the private functions, classes, constants and members that no living line reads."""
    return [str(each) for each in _unused(sources, frozenset(ALLOWED)) if not each.is_public]


def _unused(sources: Sources | None, allowed: frozenset[str]) -> list[_Definition]:
    sources = seeder_sources() if sources is None else sources
    definitions: list[_Definition] = []
    uses = _Uses()
    for module, source in sources.items():
        tree = _parsed(source)
        definitions += _definitions(module, tree)
        _note_uses(module, tree, sources, uses)
    dead: set[_Definition | str | None] = set()
    while True:
        found = {
            each
            for each in definitions
            if not (each.is_exempt or each in dead or _is_allowed(each, allowed))
            and not uses.of(each) - dead - {each}
        }
        if not found:
            break
        dead |= found
        dead |= {each for each in definitions if _owner_of(each) in dead}
    # What belongs to a dead class needs no line of its own.
    return [each for each in definitions if each in dead and _owner_of(each) not in dead]


def _is_allowed(definition: _Definition, allowed: frozenset[str]) -> bool:
    if not definition.owner:
        return definition.name in allowed
    owner = definition.owner
    return f"{owner}.{definition.name}" in allowed or f"{owner}.*" in allowed


def _owner_of(definition: _Definition) -> _Definition | None:
    return _Definition(definition.module, definition.owner) if definition.owner else None


def _definitions(module: str, tree: ast.Module) -> Iterator[_Definition]:
    for statement in tree.body:
        for name in _names_defined(statement):
            yield _Definition(module, name, "", statement.lineno, _is_exempt(statement, name))
        if isinstance(statement, ast.ClassDef):
            reflected = any(ast.unparse(base) in _REFLECTED for base in statement.bases)
            for member in statement.body:
                for name in _names_defined(member):
                    exempt = _is_exempt(member, name)
                    exempt |= reflected and not isinstance(member, _DEFINITIONS)
                    yield _Definition(module, name, statement.name, member.lineno, exempt)


def _names_defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Assign():
            for target in statement.targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _is_exempt(statement: ast.stmt, name: str) -> bool:
    if name.startswith("__") and name.endswith("__"):
        return True
    if isinstance(statement, _DEFINITIONS):
        return any(_REGISTERING.search(ast.unparse(each)) for each in statement.decorator_list)
    return False


def _note_uses(module: str, tree: ast.Module, sources: Sources, uses: _Uses) -> None:
    """Add what the module reads, and in which definition, to `uses`."""
    modules, names = _imported(tree, sources)
    for statement in tree.body:
        for user, part in _users(module, statement):
            for node in _reads(part, frozenset()):
                match node:
                    case ast.Name(id=name):
                        uses.globals[names.get(name, (module, name))].add(user)
                    case ast.Attribute(value=ast.Name(id=base), attr=name) if base in modules:
                        uses.globals[modules[base], name].add(user)
                    case ast.Attribute(attr=name):
                        uses.members[name].add(user)
                    case ast.MatchClass(cls=matched, patterns=by_place, kwd_attrs=attributes):
                        for name in attributes:
                            uses.members[name].add(user)
                        if by_place:
                            uses.matched[ast.unparse(matched).rpartition(".")[2]].add(user)
                    case ast.Call(args=arguments) if _called(node) in _BY_TEXT:
                        for name in re.findall(r"\w+", " ".join(_texts(arguments))):
                            uses.members[name].add(user)
                for text in _quoted_types(node):
                    for name in re.findall(r"\w+", text):
                        uses.globals[names.get(name, (module, name))].add(user)


def _reads(node: ast.AST, local: frozenset[str]) -> Iterator[ast.AST]:
    """Yield the nodes that may read a definition, from the top down: no store, no local name."""
    match node:
        case ast.Name(id=name, ctx=context) if name in local or not isinstance(context, ast.Load):
            return
        case ast.Attribute(ctx=context) if not isinstance(context, ast.Load):
            pass
        case _:
            yield node
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each]
        bound = {each.arg for each in every}
        body = node.body if isinstance(node.body, list) else [node.body]
        for each in body:
            bound |= {
                name.id
                for name in ast.walk(each)
                if isinstance(name, ast.Name) and not isinstance(name.ctx, ast.Load)
            }
        for each in body:
            yield from _reads(each, local | bound)
        for child in ast.iter_child_nodes(node):
            if child not in body:
                yield from _reads(child, local)
        return
    for child in ast.iter_child_nodes(node):
        yield from _reads(child, local)


def _users(module: str, statement: ast.stmt) -> Iterator[tuple[_Definition | str, ast.AST]]:
    """Yield the parts of a top statement with the definition that each belongs to."""
    if isinstance(statement, ast.ClassDef):
        owner = _Definition(module, statement.name)
        for part in (*statement.decorator_list, *statement.bases, *statement.keywords):
            yield owner, part
        for member in statement.body:
            names = list(_names_defined(member))
            if len(names) == 1 and not names[0].startswith("__"):
                yield _Definition(module, names[0], statement.name), member
            else:
                yield owner, member
        return
    names = list(_names_defined(statement))
    yield (_Definition(module, names[0]) if len(names) == 1 else module), statement


def _imported(
    tree: ast.Module, sources: Sources
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return what local names stand for: modules, and names in modules."""
    modules: dict[str, str] = {}
    names: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                local, full = alias.asname or alias.name, f"{node.module}.{alias.name}"
                if full in sources:
                    modules[local] = full
                else:
                    names[local] = (node.module, alias.name)
    return modules, names


def _quoted_types(node: ast.AST) -> Iterator[str]:
    """Yield the types in quotes that a node names: in annotations, bases and casts."""
    annotations: list[ast.expr | None] = []
    match node:
        case ast.arg(annotation=annotation) | ast.AnnAssign(annotation=annotation):
            annotations.append(annotation)
        case ast.FunctionDef(returns=annotation) | ast.AsyncFunctionDef(returns=annotation):
            annotations.append(annotation)
        case ast.Subscript(slice=annotation):
            annotations.append(annotation)
        case ast.Call(args=[annotation, *_]) if _called(node) == "cast":
            annotations.append(annotation)
    for annotation in annotations:
        if annotation is not None:
            yield from _texts(ast.walk(annotation))


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# -- names that stand for two things


def duplicate_public_class_names(sources: Sources | None = None) -> list[str]:
    """Return each public name of a class or type that several modules define, with the modules."""
    return _duplicates(sources, lambda name: not _UPPER.fullmatch(name))


def ambiguous_constants(sources: Sources | None = None) -> list[str]:
    """Return each public constant that one module imports from another though a third has the name.

    A constant of its own module has that module beside it; one that is imported by its name stands
    alone, and is taken for the one that the reader knows.
    """
    sources = seeder_sources() if sources is None else sources
    imported = {
        place
        for source in sources.values()
        for place in _imported(_parsed(source), sources)[1].values()
    }
    named = _named(sources, lambda name: _UPPER.fullmatch(name) is not None)
    return [
        f"{name}: {', '.join(modules)}"
        for name, modules in named.items()
        if len(modules) > 1 and any((module, name) in imported for module in modules)
    ]


def _duplicates(sources: Sources | None, wanted: Callable[[str], bool]) -> list[str]:
    named = _named(seeder_sources() if sources is None else sources, wanted)
    return [f"{name}: {', '.join(found)}" for name, found in named.items() if len(found) > 1]


def _named(sources: Sources, wanted: Callable[[str], bool]) -> dict[str, list[str]]:
    """Return the modules that define each public name."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module, source in sources.items():
        for statement in _parsed(source).body:
            for name in _names_defined(statement):
                private = name.startswith("_") or isinstance(statement, _FUNCTIONS)
                if not private and not _is_type_variable(statement) and wanted(name):
                    places[name].append(module)
    return places


def _is_type_variable(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign) else None
    return isinstance(value, ast.Call) and _called(value) in ("TypeVar", "ParamSpec")


# -- imports in a circle


def import_cycles(sources: Sources | None = None) -> list[str]:
    """Return a circle of imports for each knot of modules, "a -> b -> a".

    All imports count: those for type checkers, and those within functions.
    """
    sources = seeder_sources() if sources is None else sources
    arrows = {module: _imports(_parsed(source), sources) for module, source in sources.items()}
    circles: list[str] = []
    left = set(sources)
    for module in sources:
        if module in left and (circle := _way_back(module, arrows, left)):
            circles.append(" -> ".join(circle))
            left -= _reached(module, arrows) & {
                other for other in left if module in _reached(other, arrows)
            }
    return circles


def _imports(tree: ast.Module, sources: Sources) -> list[str]:
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found[full if full in sources else node.module] = None
    return [name for name in found if name in sources]


def _way_back(module: str, arrows: Mapping[str, list[str]], among: set[str]) -> list[str]:
    """Return the shortest way from a module back to itself; empty if there is none."""
    ways = [[module]]
    seen: set[str] = set()
    for way in ways:
        for other in arrows[way[-1]]:
            if other == module:
                return [*way, module]
            if other in among and other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def _reached(module: str, arrows: Mapping[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        for other in arrows[waiting.pop()]:
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached


# -- what a wait may lose


def updates_across_awaits(sources: Sources | None = None) -> list[str]:
    """Return the `x.y += await ...`: they read x.y before the wait and undo what others did in it.

    By default of tests/, too. What is a function's own can be updated so, but for its subscripts.
    """
    if sources is None:
        sources = {**seeder_sources(), **test_sources()}
    return [
        f"{module}:{node.lineno} {ast.unparse(node.target)}"
        for module, source in sources.items()
        for node in ast.walk(_parsed(source))
        if isinstance(node, ast.AugAssign)
        and isinstance(node.target, ast.Attribute | ast.Subscript)
        and any(isinstance(each, ast.Await) for each in ast.walk(node.value))
    ]


# -- what comments cite

DECISIONS = "seeder/README.md"
"""The page that lists the decisions."""
_DECISION = re.compile(r"\bdecisions? \d+", re.I)
_NUMBERED = re.compile(r"\b(?:case|issue)s? #?\d+", re.I)
_PAPER = re.compile(r"[\w./-]*\w\.md\b|\b(?:shared|reference)/[\w./-]*\w")
_NAMED = re.compile(r"`(seeder(?:\.\w+)+)`|`((?:seeder|tests|config|systemd)/[\w./-]+)`")
_URL = re.compile(r"https?://\S+")


def uncited_comments(sources: Sources | None = None) -> list[str]:
    """Return the comments and docstrings that cite what a reader of the repository can't find.

    A decision goes with "seeder/README.md". A numbered case or issue is nowhere, and so is a paper
    that is no file here, named from the top or beside the module. A module, name or file in
    backquotes has to exist.
    """
    sources = seeder_sources() if sources is None else sources
    found = []
    for module, source in sources.items():
        for line, comment in _comments(source):
            text = _URL.sub("", " ".join(comment.split()))
            lost = _lost_citations(text, _folder(module), sources)
            found += [f"{module}:{line} {cited}" for cited in lost]
    return found


def _folder(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path if path.is_dir() else path.parent


def _lost_citations(text: str, folder: Path, sources: Sources) -> Iterator[str]:
    if DECISIONS not in text:
        yield from _DECISION.findall(text)
    text = text.replace(DECISIONS, "")
    yield from _NUMBERED.findall(text)
    for paper in _PAPER.findall(text):
        if not ((ROOT / paper).is_file() or (folder / paper).is_file()):
            yield paper
    for name, path in _NAMED.findall(text):
        if name and not _is_defined(name, sources):
            yield name
        if path and not (ROOT / path).exists():
            yield path


def _is_defined(name: str, sources: Sources) -> bool:
    if name in sources:
        return True
    module, _, attribute = name.rpartition(".")
    if module in sources:
        return any(attribute in _names_defined(each) for each in _parsed(sources[module]).body)
    owner_module, _, owner = module.rpartition(".")
    return owner_module in sources and any(
        isinstance(each, ast.ClassDef)
        and each.name == owner
        and any(attribute in _names_defined(member) for member in each.body)
        for each in _parsed(sources[owner_module]).body
    )


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments, those on neighbouring lines as one, and the docstrings, with lines."""
    block: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != start + len(block):
                yield start, " ".join(block)
                block = []
            start = start if block else token.start[0]
            block.append(token.string.lstrip("# "))
    if block:
        yield start, " ".join(block)
    for node in ast.walk(_parsed(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text
