"""For mkdocstrings: the sections of a docstring (Parameters, Returns, …) as Markdown lists, under bold names."""

import re
from typing import Any

import griffe

HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)


class Sections(griffe.Extension):
    """Our docstrings have numpy's headings, and entries of `name: text` that go on in indented lines."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the object's docstring."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Each `name: text` under a heading becomes an entry of a list; other text stays as it is."""
    opening, *sections = HEADING.split(docstring)
    parts = [opening]
    for heading, text in zip(sections[::2], sections[1::2], strict=True):
        entries, gap, rest = text.strip("\n").partition("\n\n")
        items = [re.sub(r"^([\w, ]+): ", r"- **\1**: ", line) for line in entries.splitlines()]
        parts.append(f"**{heading}**\n\n" + "\n".join(items) + f"\n{gap}{rest}\n\n")
    return "".join(parts)
