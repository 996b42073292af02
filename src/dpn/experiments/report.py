"""All results on one page of HTML that needs nothing but itself."""

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path

from dpn.experiments.result import Picture, Result, write_png
from dpn.files import written_whole

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.7rem; } h2 { margin-top: 3rem; border-top: 1px solid #ddd; padding-top: 1.5rem; font-size: 1.25rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e5e5e5; white-space: nowrap; }
th:first-child, td:first-child, .facts td { text-align: left; } thead th { border-bottom: 2px solid #999; }
img { max-width: 100%; margin: .5rem 0; } .remark { color: #555; } nav a { margin-right: 1rem; white-space: nowrap; }
code { background: #f4f4f4; padding: .1rem .3rem; }
"""


def write_report(path: Path, results: Mapping[str, Result | str], about: Mapping[str, str]) -> None:
    """Writes the page, whole or not at all: `about`, {word: value}, then a section a result; a string is why there is none."""
    sections, contents = [], []
    for name, result in results.items():
        title = name if isinstance(result, str) else result.title
        contents.append(f'<a href="#{name}">{escape(title)}</a>')
        body = f"<p>Not run: {escape(result)}</p>" if isinstance(result, str) else _section(result)
        sections.append(f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>')
    facts = "".join(f"<tr><td>{escape(word)}</td><td><code>{escape(value)}</code></td></tr>" for word, value in about.items())
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Deep Parsing Network: experiments</title><style>{STYLE}</style></head><body>"
        "<h1>Deep Parsing Network: the paper's tables and figures, and ours</h1>"
        f'<table class="facts">{facts}</table><nav>{" ".join(contents)}</nav>{"".join(sections)}</body></html>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _section(result: Result) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in result.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in result.cells())
    pictures = "".join(f'<img alt="{escape(name)}" src="{_inline(picture)}">' for name, picture in result.pictures.items())
    remark = f'<p class="remark">{escape(result.remark)}</p>' if result.remark else ""
    return f"<p>{escape(result.about)}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{pictures}{remark}"


def _inline(picture: Picture) -> str:
    file = BytesIO()
    write_png(file, picture, optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
