"""The house in one picture, and the way of one photograph through it; both are made from the code itself.

    python scripts/house.py picture docs/architecture.svg     # rooms, floors, and who imports whom
    python scripts/house.py way                               # every function that a photograph passes, in order

tests/test_house.py holds the code to the same floors: imports run downhill, and in no circle.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from types import FrameType

from jsonargparse import auto_cli

import dpn

HOME = Path(dpn.__file__).parent
FLOORS = [
    ["cli", "app", "serve"],
    ["experiments", "bench", "runs", "http"],
    ["training", "inference", "exporting"],
    ["plots", "metrics", "data"],
    ["storage"],
    ["model_files"],
    ["model"],
    ["unary", "mrf", "compat"],
    ["functional"],
]
"""From the top down: a room imports only from its own floor or from floors below. What is in no list is the cellar."""

CELLAR = [
    "registry", "options", "files", "terminal", "packages", "weights", "hub", "devices", "overlap", "processes", "together",
    "plain", "locks", "stopping", "errors",
]  # fmt: skip


def modules() -> dict[str, Path]:
    """{name: file} of every module, packages by their own name."""
    found = {}
    for path in sorted(HOME.rglob("*.py")):
        parts = ["dpn", *path.relative_to(HOME).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports outside its functions, those for a type checker alone included."""
    tree = ast.parse(path.read_text())
    inside = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) not in inside and isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dpn":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else str(node.module)


def graph() -> dict[str, set[str]]:
    """{module: the modules it imports}. `dpn` itself is left out: its names are imported when they are first used."""
    known = modules()
    return {name: {each for each in imports(path, known) if each != "dpn"} for name, path in known.items() if name != "dpn"}


def room_of(name: str) -> str:
    """The room of a module: "mrf" for dpn.mrf.energy, "cli" for dpn.__main__."""
    room = name.split(".")[1]
    return "cli" if room == "__main__" else room


def floor_of(room: str) -> int:
    """0 at the top; the cellar is the last."""
    return next((i for i, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def arrows() -> set[tuple[str, str]]:
    """(room, room that it imports from), without those that other arrows lead to as well."""
    pairs = {(room_of(name), room_of(other)) for name, others in graph().items() for other in others}
    pairs = {(above, below) for above, below in pairs if above != below and not {above, below} & set(CELLAR)}
    reached = set(pairs)
    for middle in {room for pair in pairs for room in pair}:
        reached |= {(a, d) for a, b in reached for c, d in reached if b == c == middle}
    return {(a, c) for a, c in pairs if not any((a, b) in reached and (b, c) in reached for b, _ in pairs if b not in (a, c))}


def picture(out: Path) -> None:
    """Draws the rooms on their floors: what each is, its lines, and arrows to what it imports from, direct ones alone."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    lines: dict[str, int] = {}
    about: dict[str, str] = {}
    for name, path in modules().items():
        if name != "dpn":
            room = room_of(name)
            lines[room] = lines.get(room, 0) + len(path.read_text().splitlines())
            if name == f"dpn.{room}":
                about[room] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0].split(": ")[0].rstrip(".")
    drawn = [[room for room in rooms if room in lines] for rooms in [*FLOORS, CELLAR[:6], CELLAR[6:]]]
    figure = Figure(figsize=(12, 12))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    places = {}
    for floor, rooms in enumerate(drawn):
        for i, room in enumerate(rooms):
            width = 12 / len(rooms)
            places[room] = width * (i + 0.5), 1.25 * (len(drawn) - floor), min(5.2, width - 0.25)
    for above, below in sorted(arrows()):
        (x, y, _), (u, v, _) = places[above], places[below]
        level = y == v
        style = {"arrowstyle": "-|>", "color": "0.5", "linewidth": 1.2, "connectionstyle": f"arc3,rad={0.35 * level}"}
        axes.annotate("", (u, v + 0.4 * (not level)), (x, y - 0.4 * (not level)), arrowprops=style, zorder=1)
    for room, (x, y, width) in places.items():
        fill = "#f3f3f3" if room in CELLAR else "#eaf1fb"
        shape = FancyBboxPatch((x - width / 2, y - 0.38), width, 0.76, "round,pad=0,rounding_size=.08", fc=fill, ec="0.35")
        axes.add_patch(shape).set_zorder(2)
        axes.text(x, y + 0.14, f"{room}  ({lines[room]})", ha="center", va="center", weight="bold", fontsize=11, zorder=3)
        text = "\n".join(wrap(about.get(room, ""), round(width * 15)))
        axes.text(x, y - 0.16, text, ha="center", va="center", fontsize=8, color="0.25", zorder=3)
    axes.set_xlim(-0.1, 12.1)
    axes.set_ylim(0.6, 1.25 * len(drawn) + 0.7)
    figure.savefig(out)


def way() -> None:
    """Segments a picture with the shipped network; prints each function of the package on its way, once, indented by depth."""
    from tempfile import TemporaryDirectory

    import numpy as np
    from PIL import Image

    seen: set[str] = set()
    depth = [0]

    def called(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(HOME):
            return
        name = frame.f_code.co_qualname
        if event == "call":
            depth[0] += 1
            where = f"{path.relative_to(HOME)}: {name}"
            if where not in seen and "<" not in name:
                seen.add(where)
                print("  " * (depth[0] - 1) + where)
        elif event == "return":
            depth[0] -= 1

    with TemporaryDirectory() as folder:
        photo = Path(folder, "photo.png")
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (65, 97, 3), np.uint8)).save(photo)
        model = dpn.load()
        dpn.segment(photo, model).save(folder, "first")  # now nothing is imported or compiled on the way
        sys.setprofile(called)
        dpn.segment(photo, model).save(folder, "second")
        sys.setprofile(None)


def main() -> None:
    """Draws the picture, or prints the way."""
    auto_cli({"picture": picture, "way": way})


if __name__ == "__main__":
    main()
