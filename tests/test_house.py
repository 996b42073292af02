"""The house: imports run downhill and in no circle, files stay short, and nobody names a backend but its own folder."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "house.py"
spec = importlib.util.spec_from_file_location("house", SCRIPT)
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)
MODULES, GRAPH = house.modules(), house.graph()


def test_no_import_goes_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in GRAPH[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_imports_run_downhill(name: str) -> None:
    floor = house.floor_of(house.room_of(name))
    if house.room_of(name) not in house.CELLAR:
        above = [other for other in GRAPH[name] if house.floor_of(house.room_of(other)) < floor]
        assert not above, f"{name} imports from above: {', '.join(above)}"


def test_the_cellar_stands_on_nothing() -> None:
    for name, others in GRAPH.items():
        if house.room_of(name) in house.CELLAR:
            assert all(house.room_of(other) in house.CELLAR for other in others), name


def test_no_module_is_longer_than_300_lines() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_only_a_backend_s_own_folder_names_it() -> None:
    named = [
        f"{path}:{node.lineno}"
        for name, path in MODULES.items()
        if not name.startswith("dpn.functional")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in ("halide", "triton")
    ]
    assert named == []


def test_the_way_of_a_photograph_passes_functions_that_are_there() -> None:
    page = (SCRIPT.parents[1] / "docs" / "architecture.md").read_text()
    passed = re.findall(r"^ {4,}(\S+\.py): (\S+)$", page, re.MULTILINE)
    assert len(passed) > 50
    for path, name in passed:
        assert f"def {name.split('.')[-1]}(" in (house.HOME / path).read_text(), f"{path}: {name}"


def test_importing_the_package_and_its_core_imports_no_heavy_library() -> None:
    heavy = ("halide", "huggingface_hub", "jsonargparse", "lightning_fabric", "matplotlib", "pooch", "rich", "scipy", "skimage",
             "tensorboard", "torch._dynamo", "torchmetrics", "triton")  # fmt: skip
    program = f"import sys, dpn; dpn.DPN, dpn.MRF, dpn.load; print(*[name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
