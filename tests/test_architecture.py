"""Which room of the package may use which: imports go down the floors (docs/architecture.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ofa_transformers


PACKAGE = Path(ofa_transformers.__file__).parent

# From the bottom up. Rooms of one floor don't know each other, but for those that name what they may use beside them.
FLOORS = [
    ["utils"],
    ["text", "models"],
    ["vectors", "tokenization", "scoring"],
    ["initialization.settings"],
    ["initialization.mapping"],
    ["report"],
    ["initialization"],
    ["training", "evaluation"],
    ["workflows"],
    ["demo"],
    ["cli"],
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Public names of earlier releases come through them; no room imports them.
DOORS = {"mapping", "hub", "configuration_ofa", "modeling_ofa"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def room_of(module: str) -> str | None:
    """The room with the longest name that the module lies in."""
    found = [room for room in FLOOR_OF if f"{module}.".startswith(f"{room}.")]
    return max(found, key=len, default=None)


def imports(module: str, path: Path, typing: bool = True) -> Iterator[str]:
    """The modules of the package that a module imports, anywhere in it; with `typing` also for type checkers only."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
            and not typing
        ):
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE.name]
            yield from (name.removeprefix(PACKAGE.name).strip(".") for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == PACKAGE.name):
            above = package[: len(package) - node.level + 1] if node.level else []
            named = (node.module or "").removeprefix("" if node.level else PACKAGE.name).strip(".")
            origin = ".".join([*above, *([named] if named else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}".strip(".")
                yield inner if inner in MODULES else origin


def test_every_module_is_in_a_room_or_is_a_door():
    outside = {module for module in MODULES if room_of(module) is None}
    assert outside == {"", *DOORS}


@pytest.mark.parametrize("room", FLOOR_OF)
def test_rooms_import_from_lower_floors_only(room):
    modules = {module: path for module, path in MODULES.items() if room_of(module) == room}
    assert modules
    upward = []
    for module, path in modules.items():
        for target in imports(module, path):
            other = room_of(target)
            if other != room and (other is None or FLOOR_OF[other] >= FLOOR_OF[room]):
                upward.append(f"{module} imports {target or PACKAGE.name}")
    assert not upward, "\n".join(upward)


def test_no_circles():
    edges = {m: {t for t in imports(m, path, typing=False) if t != m} for m, path in MODULES.items() if m}
    state: dict[str, int] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        state[module] = 1
        for target in edges.get(module, ()):
            assert state.get(target) != 1, " -> ".join((*way, module, target))
            if target not in state:
                visit(target, (*way, module))
        state[module] = 2

    for module in edges:
        if module not in state:
            visit(module, ())


def test_the_page_and_its_picture_show_every_room():
    docs = PACKAGE.parent / "docs"
    page, picture = (docs / name for name in ("architecture.md", "images/floors.svg"))
    for room in FLOOR_OF:
        name = room.replace(".", "/") + (".py" if room in MODULES and MODULES[room].stem != "__init__" else "/")
        assert f"`{name}`" in page.read_text(encoding="utf-8")
        assert f">{name}<" in picture.read_text(encoding="utf-8")
    for module in re.findall(r"^\d+\. (.*):", page.read_text(encoding="utf-8"), re.MULTILINE):
        for path in re.findall(r"`([^`]+\.py)`", module):
            assert (PACKAGE / path).is_file(), path
