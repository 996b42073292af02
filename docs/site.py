"""For `make docs`: what the site changes in pages and docstrings, which are written for a repository's readers."""

import re
from typing import Any

import griffe


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page for mkdocs. Links out of docs/, which work in the repository, become the files' names.

    A link to a notebook leads to its page, or to the file where it is called by the file's name.
    """
    markdown = re.sub(r"\[`([^\]]+)`\]\(\.\./\1\)", r"`\1`", markdown)
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./((?:src|scripts|configs)/[^)]+)\)", r"\1 (`\2`)", markdown)
    return re.sub(r"\[([^\]]+)(?<!\.ipynb)\]\((\w+)\.ipynb\)", r"[\1](\2.md)", markdown)


class Examples(griffe.Extension):
    """Docstrings for mkdocstrings, which knows "Examples:" alone."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
