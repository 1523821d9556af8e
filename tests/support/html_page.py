"""A page as its tables, ids, links and scripts: what a reader without JavaScript has."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Table:
    caption: str = ""
    head: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    scopes: list = field(default_factory=list)


class Page(HTMLParser):
    """Parsed once: ids, attributes (tag, name, value), scripts (attributes, text), styles, tables by caption."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.ids, self.attributes, self.scripts, self.styles, self.tables = [], [], [], [], {}
        self.open, self.text, self._table, self._sink = [], [], None, None
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert len(given) == len(attributes), f"an attribute given twice: {tag} {attributes}"
        self.attributes += [(tag, name, value or "") for name, value in given.items()]
        self.ids += [given["id"]] if "id" in given else []
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._sink = [given, ""]
            self.scripts.append(self._sink)
        elif tag == "style":
            self._sink = [given, ""]
            self.styles.append(self._sink)
        elif tag == "table":
            self._table = Table()
        elif tag == "tr" and self._table is not None:
            self._row = []
        elif tag in ("th", "td", "caption") and self._table is not None:
            self._cell = ""
            if tag == "th":
                self._table.scopes.append(given.get("scope"))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_data(self, data):
        if self._sink is not None:
            self._sink[1] += data
            return
        self.text.append(data)
        if self._table is not None and hasattr(self, "_cell"):
            self._cell += data

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag in ("script", "style"):
            self._sink = None
        elif self._table is None:
            return
        elif tag == "caption":
            self._table.caption = self._cell
        elif tag in ("th", "td"):
            self._row.append(self._cell)
        elif tag == "tr":
            (self._table.rows if self._table.head else self._table.head).append(self._row)
        elif tag == "table":
            self.tables[self._table.caption] = self._table
            self._table = None
