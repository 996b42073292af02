"""Notebooks without Jupyter: their cells are run, and what they show is kept in the file or becomes a page of the site.

    python scripts/notebook.py docs/paper.ipynb       # runs it, and writes what its cells print and draw into it

tests/test_docs.py runs the cells; mkdocs takes `on_files` from here.
"""

import ast
import json
from base64 import b64encode
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from dpn.files import written_whole

Notebook = dict[str, Any]
"""A notebook as its JSON says, nbformat 4."""


def read(path: Path) -> Notebook:
    """A notebook from its file."""
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def run(notebook: Notebook) -> None:
    """Runs the code cells in order, in one namespace, and puts what they show into them.

    That is what is printed, and the value of a last line that is an expression: a picture where it has one as PNG, as Pillow's
    images do, else its text.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(cells, start=1):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with redirect_stdout(StringIO()) as printed:
            exec(compile(tree, f"cell {count}", "exec"), names)
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names) if last else None
        cell["execution_count"] = count
        cell["outputs"] = _printed(printed.getvalue()) + _shown(value, count)


def page(notebook: Notebook) -> str:
    """A notebook as a page in Markdown: its text, its code, and below each cell what it showed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            held = {"text/plain": output.get("text", "")} | output.get("data", {})
            picture, text = held.get("image/png"), "".join(held["text/plain"]).rstrip("\n")
            parts.append(f"![what the cell draws](data:image/png;base64,{picture})" if picture else f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """For mkdocs: beside each notebook a page of its name."""
    from mkdocs.structure.files import File

    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            content = page(read(Path(file.abs_src_path)))
            files.append(File.generated(config, file.src_uri.removesuffix(".ipynb") + ".md", content=content))
    return files


def _printed(text: str) -> list[dict[str, Any]]:
    return [{"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}] if text else []


def _shown(value: Any, count: int) -> list[dict[str, Any]]:
    if value is None:
        return []
    data = {"text/plain": [repr(value)]}
    if hasattr(value, "_repr_png_"):
        data = {"image/png": b64encode(value._repr_png_()).decode(), "text/plain": ["a picture"]}
    return [{"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}]


def main(path: Path) -> None:
    """Runs a notebook and writes what its cells show into its file.

    Args:
        path: the notebook.
    """
    notebook = read(path)
    run(notebook)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(main)
