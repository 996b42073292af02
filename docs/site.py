"""For `make docs`: what the site changes in pages and docstrings, which are written for a repository's readers."""

import re
from typing import Any

import griffe


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page for mkdocs: links out of docs/, which work in the repository, become the files' names."""
    return re.sub(r"\[([^\]]+)\]\(\.\./((?:src|scripts|configs)/[^)]+)\)", r"\1 (`\2`)", markdown)


class Examples(griffe.Extension):
    """Docstrings for mkdocstrings, which knows "Examples:" alone."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
