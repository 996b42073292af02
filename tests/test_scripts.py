"""Scripts need a GPU, hours or a peer to run, but not to be read: what they import from the package is there."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_without_a_gpu_or_a_peer(path: Path) -> None:
    spec = spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    assert f"python scripts/{path.name}" in script.__doc__ and script.main.__doc__
