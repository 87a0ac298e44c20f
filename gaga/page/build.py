"""The HTML file: a template whose places are filled with style, code and data, none of which can end its element."""

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_SCRIPTS = ("data.js", "drawing.js", "viewer.js", "charts.js", "table.js", "page.js")
# Within a script element these could end it, or begin a comment, or end a line of old JavaScript.
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def build(title: str, data: Mapping[str, Any]) -> str:
    """The page.

    Args:
        title: of the page, as plain text.
        data: what `template/page.js` shows, as JSON has it; texts in it may be anything.
    """
    folder = files("gaga.page").joinpath("template")
    parts = {
        "title": html.escape(title),
        "style": folder.joinpath("page.css").read_text(encoding="utf-8"),
        "data": as_json(data),
        "code": "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS),
    }
    page = folder.joinpath("page.html").read_text(encoding="utf-8")
    # Each part is put in once, in the order of the template: what it holds is not looked at again.
    done: list[str] = []
    for name, part in parts.items():
        before, page = page.split(f"{{{{{name}}}}}", 1)
        done += [before, part]
    return "".join([*done, page])


def as_json(data: Mapping[str, Any]) -> str:
    """Data as JSON that is safe within a script element."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)
