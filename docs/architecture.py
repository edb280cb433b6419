"""The plan on the wall, made from the code: the drawing of the rooms, and where each equation of the paper stands.

``python docs/architecture.py`` writes docs/rooms.svg and the table of equations in ARCHITECTURE.md; ``--check`` changes
nothing and exits with 1 where they are not what the code gives. Fails where an equation has no plain form or several.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "point2mask_ot"
EQUATIONS = range(1, 16)
MARKER = re.compile(r"Plain form of Eq\. (\d+): (.+)")

BOX, ROW, COLUMN, MARGIN, WIDTH = (186, 74), 118, 232, 24, 1212
COLUMNS = {
    "cli": 1.5, "labelling": 1, "annotate": 2, "masks": 0.5, "walks": 0, "capacity": 1, "viz": 2, "typical": 3,
    "formats": 3,
    "geodesic": 0, "transport": 1, "losses": 2, "panoptic": 3, "graph": 0, "sizes": 1, "maps": 2, "files": 3,
    "types": 1.5, "nearest": 2.5, "compiled": 0.5, "arrays": 1.5, "points": 2.5,
    "pixels": 3.5, "checks": 2,
}  # fmt: skip
"""Where a room stands on its floor: by hand, so that arrows are short."""


def floors() -> list[list[str]]:
    """The rooms floor by floor, from the top: the contract that ``lint-imports`` keeps."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [[room.strip() for room in layer.split("|")] for layer in layers]
    return [floor for floor in rooms if floor != ["__main__"]]  # the door, not a room


def sources(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    folder = PACKAGE / room
    face = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(face.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(".").replace("``", "")


def imported_rooms(path: Path, rooms: set[str]) -> Iterator[str]:
    """The rooms that a file imports from, at its head or within a function.

    Raises:
        SystemExit: it imports what is private to another room, or a public name from the package itself, which
            hides the room that the name lives in.
    """
    inside = ("point2mask_ot", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[list[str]] = []
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else ()
            module = [*above, *(node.module or "").split(".")] if node.module else [*above]
            modules = [[*module, alias.name] if len(module) == 1 else module for alias in node.names]
        for own in (parts for parts in modules if parts[0] == "point2mask_ot"):
            if own[1:2] != [*inside[1:2]] and any(part.startswith("_") for part in own[2:]):
                sys.exit(f"{path.relative_to(ROOT)} imports {'.'.join(own)}, which is private to its room")
            if own[1:] and own[1] in rooms:
                yield own[1]
            elif own[1:] != ["__version__"]:
                sys.exit(f"{path.relative_to(ROOT)} imports {'.'.join(own)}: import it from the room that it lives in")


def arrows() -> dict[str, set[str]]:
    """Which rooms each room imports from; those that another arrow leads to all the same are left out."""
    rooms = {room for floor in floors() for room in floor}
    direct = {room: {r for path in sources(room) for r in imported_rooms(path, rooms)} - {room} for room in rooms}
    below: dict[str, set[str]] = {}
    for floor in reversed(floors()):
        lower = set(below)
        for room in floor:
            if upward := direct[room] - lower:
                sys.exit(f"{room} imports from {sorted(upward)}, which the floors of pyproject.toml put no lower")
            below[room] = direct[room].union(*(below[other] for other in direct[room]))
    return {room: {r for r in direct[room] if not any(r in below[o] for o in direct[room])} for room in rooms}


def places() -> dict[str, tuple[float, float]]:
    """Upper left corner of each room's box."""
    return {
        room: (MARGIN + COLUMNS[room] * COLUMN, MARGIN + level * ROW)
        for level, floor in enumerate(floors())
        for room in floor
    }


def way(start: str, end: str, at: dict[str, tuple[float, float]]) -> str:
    """The path of an arrow: from floor to floor, between the boxes of those that it passes."""
    (x, y), (last_x, last_y) = ((at[room][0] + BOX[0] / 2, at[room][1]) for room in (start, end))
    first_x, first_y, path = x, y, f"M{x:g},{y + BOX[1]:g}"
    y += BOX[1]
    for floor in range(round((last_y - first_y) / ROW)):
        top = first_y + (floor + 1) * ROW
        straight = first_x + (last_x - first_x) * (top - first_y) / (last_y - first_y)
        boxes = [(left - 7, left + BOX[0] + 7) for left, upper in at.values() if upper == top != last_y]
        gaps = [edge for box in boxes for edge in box if not any(left < edge < right for left, right in boxes)]
        hidden = any(left < straight < right for left, right in boxes)
        new = min(gaps, key=lambda gap: abs(gap - straight)) if hidden else straight
        end_y = top - 5 if top == last_y else top
        path += f" C{x:g},{(y + end_y) / 2:g} {new:g},{(y + end_y) / 2:g} {new:g},{end_y:g}"
        x, y = new, top + BOX[1]
        path += "" if top == last_y else f" V{y:g}"
    return path


def drawing() -> str:
    at, above = places(), arrows()
    parts = [
        f'<path d="{way(room, other, at)}" marker-end="url(#tip)"/>'
        for room in sorted(at)
        for other in sorted(above[room])
    ]
    for room, (x, y) in sorted(at.items()):
        name = f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py"
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="5"/>')
        parts.append(f'<text class="name" x="{x + 9:g}" y="{y + 18:g}">{escape(name)}</text>')
        for line, words in enumerate(textwrap.wrap(purpose(room), 34, max_lines=4, placeholder=" ...")):
            parts.append(f'<text x="{x + 9:g}" y="{y + 32 + 12 * line:g}">{escape(words)}</text>')
    height = 2 * MARGIN + (len(floors()) - 1) * ROW + BOX[1]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
        "<style>rect{fill:#f4f1ea;stroke:#555}path{fill:none;stroke:#888}text{font-size:10px;fill:#444}"
        ".name{font-size:13px;font-weight:bold;fill:#111}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0,0 L6,3 L0,6" style="fill:#888;stroke:none"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>\n{body}\n</svg>\n'
    )


def plain_forms() -> dict[int, tuple[str, str]]:
    """Each equation's place, ``file: function``, and what the marker there says of it.

    Raises:
        SystemExit: an equation without a plain form, or with several.
    """
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in EQUATIONS}
    for folder in (PACKAGE, ROOT / "examples" / "panoptic_segformer"):
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text()
            for match in MARKER.finditer(text):
                place = f"{path.relative_to(ROOT).as_posix()}: {_around(text, match.start())}"
                found.setdefault(int(match[1]), []).append((place, match[2].removesuffix('"""').strip(" .")))
    wrong = {number: [place for place, _ in forms] for number, forms in found.items() if len(forms) != 1}
    if wrong:
        sys.exit(f"plain forms of equations, wanted one each of {EQUATIONS.start}-{EQUATIONS.stop - 1}: {wrong}")
    return {number: forms[0] for number, forms in found.items()}


def _around(text: str, offset: int) -> str:
    """The innermost function or class around a place in a file, with those around it."""
    line, names = text.count("\n", 0, offset) + 1, []
    for node in ast.walk(ast.parse(text)):  # from the outside in
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.lineno <= line <= (node.end_lineno or 0):
            names.append(node.name)
    return ".".join(names)


def page(text: str) -> str:
    """ARCHITECTURE.md with the table of equations as it is now."""
    rows = ["| equation | what it says | plain form |", "|---|---|---|"]
    for number, (place, words) in plain_forms().items():
        path, _, name = place.partition(": ")
        shown = path.removeprefix("point2mask_ot/").removeprefix("examples/")
        for mark, entity in (("``", ""), ("|", "&#124;"), ("<", "&lt;")):
            words = words.replace(mark, entity)
        rows.append(f"| {number} | {words} | `{name}` in [{shown}]({path}) |")
    head, tail = "<!-- equations -->\n", "\n<!-- /equations -->"
    before, after = text.split(head)[0], text.split(tail)[1]
    return before + head + "\n".join(rows) + tail + after


def main() -> None:
    plan = ROOT / "ARCHITECTURE.md"
    wanted = {ROOT / "docs" / "rooms.svg": drawing(), plan: page(plan.read_text())}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        names = [path.relative_to(ROOT).as_posix() for path in stale]
        sys.exit(f"not what the code gives: {names}; run python docs/architecture.py" if stale else 0)
    for path in stale:
        path.write_text(wanted[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
