"""JSON, YAML and TOML: fields changed in their place, and texts that their parsers must not follow."""

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEEP = 3000
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e-320, 1e308, 2**31, 2**63, 2**64, -(2**63), 10**30, 16385),
    *(
        "",
        "a",
        "0",
        "1e999",
        "NaN",
        "nan",
        "null",
        "\0",
        "\x1b[31mred",
        "\u202e",
        "\ud800",
        "a" * 100_000,
        "../../../x",
    ),
    *("/etc/passwd", "samples.npz", "bundle", "~", "$HOME", "%s%n", "{0}", "batched", "lava", "__class__", "\n\n"),
    *([], {}, [[]], [0], [None], {"": 0}, {"a": {"b": {}}}, [1, 2, 3], list(range(5000)), {"__proto__": 1}),
    *([10**9, 10**9, 10**9], [-1, 4, 4], [1.0, 4, 4], [[1]], "topk", "fixed", float("nan"), float("inf")),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in nested lists and dictionaries."""
    found = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    )
    for key, inner in found:
        yield value, key
        yield from places(inner)


def change(value: Any, rng: random.Random) -> Any:
    """The value with one to three of its fields changed, removed, added, renamed or exchanged."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        every = list(places(value))
        if not every:
            return rng.choice(VALUES)
        inside, key = rng.choice(every)
        _at(every, inside, key, rng)
    return value


def _at(every: list[tuple[Any, Any]], inside: Any, key: Any, rng: random.Random) -> None:
    old = inside[key]
    act = rng.randrange(9)
    if act == 0:
        del inside[key]
    elif act == 1 and isinstance(inside, dict):
        inside[rng.choice(("", "extra", str(key).upper(), f"{key} ", "__init__", "x" * 5000))] = inside.pop(key)
    elif act == 2:
        other, place = rng.choice(every)
        inside[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(old)
    elif act == 3 and isinstance(old, int | float):
        inside[key] = rng.choice((old + 1, old - 1, -old, old * 2, old * 10**6, float(old), str(old), bool(old), [old]))
    elif act == 4 and isinstance(old, str):
        inside[key] = rng.choice(
            (old.upper(), old + "x", old[:-1], old[::-1], old * 1000, [old], {old: old}, "é" + old)
        )
    elif act == 5 and isinstance(old, list):
        inside[key] = rng.choice((old + old, old[:-1], old[::-1], old * 500, [old], [str(each) for each in old]))
    elif act == 6 and isinstance(inside, list):
        inside.insert(key, rng.choice(VALUES))
    elif act == 7 and isinstance(inside, dict):
        inside[rng.choice(("extra", "format", "0", "sha256"))] = rng.choice(VALUES)
    else:
        inside[key] = rng.choice(VALUES)


def deep(rng: random.Random) -> Any:
    """A value nested deeper than any that is read."""
    value: Any = 0
    for _ in range(rng.choice((99, 101, 400))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def json_fields(path: Path, rng: random.Random) -> None:
    """Fields of a JSON file."""
    changed = change(json.loads(path.read_text("utf-8")), rng)
    path.write_bytes(json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))


def json_text(path: Path, rng: random.Random) -> None:
    """What JSON's syntax allows and nobody writes, and what it does not allow."""
    text = path.read_text("utf-8")
    field = rng.choice(re.findall(r'"[^"\n]*": ', text) or [""])
    number = rng.choice(("NaN", "-Infinity", "1e999", "9" * 5000, "1" + "0" * 400, "0x10", "01", "1.", "+1", "1e-999"))
    changed = rng.choice((
        re.sub(r"(?<=: )-?\d[\d.e+-]*", number, text, count=1),
        text.replace(field, field + number + ", " + field, 1),
        text.replace(field, field + "[" * DEEP + "]" * DEEP + ', "deep": ', 1),
        text.replace(field, field + '{"a":' * DEEP + "1" + "}" * DEEP + ', "deep": ', 1),
        text.replace(field, field + json.dumps(deep(rng)) + ', "deep": ', 1),
        text + text, f"[{text}]", f'"{text}"', "\ufeff" + text, text.replace('"', "'"), text.replace(",", ",,", 1),
        text.replace('"', '"\\ud800', 1), text.replace('"', '"\\u0000', 1), f"/* */ {text}", text.rstrip().rstrip("}"),
        text.replace(field, field[:-3] + "\\u001b]0;x\\u0007" + field[-3:], 1), "{" * 100_000, "[" * 10**6,
        text.replace(field, field.lower() + field, 1), " " * 10**6 + text,
    ))  # fmt: skip
    coding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "cp1252"))
    path.write_bytes(changed.encode(coding, "replace"))


def yaml_fields(path: Path, rng: random.Random) -> None:
    """Fields of a YAML file."""
    changed = change(yaml.safe_load(path.read_text("utf-8")), rng)
    path.write_bytes(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True).encode("utf-8", "replace"))


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
CODE = (
    '!!python/object/apply:os.system ["touch strayed"]', "!!python/object/new:os.system [touch strayed]",
    "!!python/name:os.system", "!!python/module:os", "!!python/object:builtins.dict {}", "!!binary aGVsbG8=",
    "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp 2001-12-14", "!!int ''", "!!float ''",
    "!!bool maybe",
    "!!timestamp never", "!!null x",
    "!!int '_'", "!!int 0b", "!!str {}", "!!map []", "!unknown x", "!<tag:x,2000:y> z",
)  # fmt: skip
PLAIN = (
    "2001-12-14", "1:30:00", "0o17", "0b1", ".inf", "-.inf", ".nan", "1e400", "1_000", "~", "yes", "=", "<<",
    "? a", "|",
    ">", "'", '"\\x00"', "[" * 300 + "]" * 300, "[" * DEEP, "{a: " * 200 + "1" + "}" * 200, "9" * 5000, "&a [*a]", "*b",
    "&a {x: *a}", "0x" + "f" * 4000, "!!int " + "9" * 5000, '"\\uD800"', "1:" * 2000 + "1",
)  # fmt: skip


def yaml_text(path: Path, rng: random.Random) -> None:
    """Tags, anchors, cycles, directives and documents."""
    text = path.read_text("utf-8")
    values = list(re.finditer(r"(?<=: )[^\s\[{#][^\n#]*", text))
    found = rng.choice(values) if values else re.match("", text)
    assert found is not None
    before, after = text[: found.start()], text[found.end() :]
    changed = rng.choice(
        (
            before + rng.choice(CODE) + after,
            before + rng.choice(CODE) + after,
            before + rng.choice(PLAIN) + after,
            before + rng.choice(PLAIN) + after,
            LAUGHS + text,
            text + "\n" + LAUGHS,
            before + "&a " + found[0] + after,
            text + "\n---\n" + text,
            "%YAML 9.9\n---\n" + text,
            "%TAG ! tag:x,2000:\n---\n" + text,
            text.replace("  ", "\t", 1),
            text + "\n<<: *a\n",
            "base: &a {<<: *a}\n" + text,
            text + "\n? [a, b]\n: 1\n",
            text + "\n? {a: 1}\n: 2\n",
            text + "\n1: 2\n",
            text + text,
            "- " * 5000 + "a",
            "{" * 20_000,
            "&a [*a]",
            "a: &a\n  b: *a\n" + text,
            text + "\n!!python/name:os.system x: 1\n",
            "!!set " + text,
            text + "\n\0",
            text + "\n\x1b[31m: 1\n",
            text + "\nnull: 1\n",
            text + "\n1.5: 1\n",
            text + "\n2001-12-14: 1\n",
        )
    )
    path.write_bytes(changed.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16")), "replace"))


# A table of values, lines and tables.
def toml_text(path: Path, rng: random.Random) -> None:
    """Values, keys and tables of a TOML file."""
    text = path.read_text("utf-8")
    found = rng.choice(list(re.finditer(r"(?<= = )[^\n]*", text)))
    value = rng.choice(
        (
            "nan",
            "inf",
            "-inf",
            "1e999",
            "9" * 5000,
            "0",
            "-1",
            "true",
            '""',
            '"\\u001b[31m"',
            "[]",
            "{}",
            "1979-05-27",
            "07:32:00",
            "1979-05-27T07:32:00Z",
            "[" * 300 + "]" * 300,
            "{a = " * 200 + "1" + "}" * 200,
            "[[1], ['a']]",
            "0x10",
            "'" + "a" * 70_000 + "'",
            '"../../x"',
            '"/etc/passwd"',
            "'lava'",
            "'loihi2'",
            "2",
            "[1, 2]",
            "'nonsense'",
            '["loihi1", "loihi1"]',
            '["/etc/passwd"]',
            '["../chip.yaml"]',
            "'''\n\n'''",
            "16384",
            "10" + "0" * 30,
            "",
        )
    )
    line = rng.choice(
        (
            "out = 'x'",
            "overwrite = true",
            "resume = 'x'",
            "weights = 'x'",
            "dataset = 'digits'",
            "data = '/'",
            "a.b.c = 1",
            "also-full = true",
            "a.b = 1",
            "json = true",
            "mode = 'streaming'",
            "detail = 1",
            "samples = 1",
            "hypothetical = true",
            "debug = true",
        )
    )
    table = rng.choice(
        (
            "[run]",
            "[nonsense]",
            "[[run]]",
            "[run.a]",
            "[" + ".".join("a" * 2000) + "]",
            "['run\n']",
            "[]",
            "[inspect]\nhorizon = 3",
            "[demo]",
            "[run]\nsamples = 5",
            "[hardware]",
            "[tool.spikecut.run]",
        )
    )
    changed = rng.choice(
        (
            text[: found.start()] + value + text[found.end() :],
            text[: found.start()] + value + text[found.end() :],
            text.replace("[run]", f"[run]\n{line}", 1),
            text.replace("[run]", f"[run]\n{line}", 1),
            text + "\n" + table + "\n",
            table + "\n" + text,
            text + text,
            "\ufeff" + text,
            text + "\n" * 70_000,
            text + "#" + "\x07",
            text.replace("[run]", "[run]\n" + "".join(f"k{n} = {n}\n" for n in range(3000)), 1),
        )
    )
    path.write_bytes(changed.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16")), "replace"))


TEXTS = {
    "json": {"fields": (json_fields, json_fields), "syntax": (json_text,)},
    "yaml": {"fields": (yaml_fields, yaml_fields), "syntax": (yaml_text, yaml_text)},
    "toml": {"syntax": (toml_text, toml_text)},
}
