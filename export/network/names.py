"""The names and texts that a network brings along: short, printable, harmless on a terminal."""

from spikecut.errors import ExportError, InputError

MAXIMUM_NAME = 256


def check_name(name: object, what: str) -> None:
    """ExportError unless this is a short text without control characters, which would reach the terminal."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAXIMUM_NAME or not name.isprintable():
        shown = repr(name)
        shown = shown if len(shown) <= MAXIMUM_NAME else f"{shown[:MAXIMUM_NAME]}…"
        raise ExportError(f"{what} {shown}: expected 1 to {MAXIMUM_NAME} printable characters; rename it")


def check_texts(data: object) -> None:
    """InputError for a text in JSON, key or value, with a character that is not printable, line feeds apart."""
    waiting = [data]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str) and not each.replace("\n", "").isprintable():
            raise InputError(f"the text {ascii(each)[:MAXIMUM_NAME]} holds a control character")
