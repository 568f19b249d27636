"""Mutations of documents that stay documents: a tree is changed and written again, not its bytes.

Objects are lists of pairs, so that a key may stand twice. A text that a writer would not write (``1e400``,
``*alias``) is a `Raw`.
"""

from __future__ import annotations

import io
import json
import math
import random
import re
import struct
import tomllib
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


class Raw(str):
    """A value by its own text, whatever the format makes of it."""

    __slots__ = ()


class Object(list[Any]):
    """The pairs of an object, each a list of key and value."""


STRINGS = (
    "",
    "\0",
    "\ud800",
    "a\u202eb\u2066",
    "\x1b[31mred\x1b[0m",
    "line\nbreak\r\u2028",
    *("../../etc/passwd", "/dev/zero", "~root/x", "a/b/" * 40, "x" * 5000, "\U0001f600" * 30),
    *("nan", "__class__", "{0.__class__}", "%s%n", "sha256:" + "0" * 64),
)
NUMBERS = (
    *(0, -1, 1, 2, 255, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30),
    *map(Raw, ("-0", "-0.0", "1e400", "-1e400", "5e-324", "0.1", "1e308", "-1e308", "1.0")),
    *map(Raw, ("-1e-400", "1" * 4299, "1" * 5000, "1e-" + "9" * 40, "0." + "0" * 400 + "1")),
)
JSON_WORDS = ("NaN", "Infinity", "-Infinity", "0x10", "01", "'a'", "undefined", '"\\ud83d"', "[1,]")
TOML_WORDS = (
    *("nan", "-nan", "inf", "-inf", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "'''a\nb'''"),
    *("0x" + "f" * 5000, "0b" + "1" * 64, "0o7", "1_000", '"\\uFFFF"', "{a.b.c = 1, a.b.d = 2}"),
    *("{" + ".".join("a" * depth) + " = 1}" for depth in (30, 300, 3000)),
)
YAML_WORDS = (
    *("&a 1", "*a", "&a [*a]", "&b {a: 1}", "*b", "!!binary aGk=", "!!python/name:os.system ''"),
    *("!!float 1", "! a", "!<tag:x> y", ".nan", ".inf", "-.INF", "0o17", "0x1F", "0b1", "1_000"),
    *(
        "no",
        "~",
        "2001-12-14",
        "1:30:00",
        "? a",
        "'it''s'",
        '"\\x41\\U0001F600"',
        "{<<: *b}",
        "- -",
    ),
    *("{<<: {a: 1}}", "{<<: [{a: 1}, {b: 2}]}", "{<<: 1}", "{[a]: b}", "=", "<<", "1e400", "@a"),
)
YAML_KEYS = ("<<", "? a", "*a", "&k k", "!!str k", "~", "1", "x-holder", "[a]", "'<<'")
TOML_KEYS = ("a.b", "claim.a", "''", '"\\u0000"', "versions", "schema")
DEPTHS = (3, 19, 21, 100, 480, 700, 950, 990, 1000, 3000)
PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


def mutate(kind: str, data: bytes, seed: int, seeds: Sequence[bytes]) -> bytes:
    """Change a document a little.

    Parameters
    ----------
    kind : str
        A key of `FORMATS`, "zip" or "bytes".
    data : bytes
        The document; where it cannot be read, one of ``seeds`` takes its place.
    seed : int
        Equal arguments give equal results.
    seeds : sequence of bytes
        Sound documents.
    """
    rng = random.Random(seed)
    if kind == "bytes" or (kind == "zip" and not data.startswith(b"PK")):
        return _bytes(data, rng)
    if kind == "zip":
        return _zip(data, rng, seeds)
    form = FORMATS[kind]
    if rng.random() < 0.5:  # changes upon changes are soon refused for the first of them
        data = rng.choice(seeds)
    try:
        tree, frame = form.read(data)
    except (ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        tree, frame = form.read(rng.choice(seeds))
    tree = Object([["", tree]])
    try:
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
            _change(tree, rng, form)
        return form.write(tree[0][1] if tree else None, frame, rng)
    except (
        RecursionError,
        ValueError,
    ):  # mutations of mutations grow too deep, or numbers too long
        return _bytes(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """Remove, double or replace some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        begin = rng.randint(0, len(changed))
        end = min(len(changed), begin + rng.randint(0, 12))
        piece = rng.choice((b"", rng.randbytes(rng.randint(1, 8)), bytes(changed[begin:end]) * 2))
        changed[begin:end] = piece
    return bytes(changed)


def _zip(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change the bytes of files in an archive, and write a sound archive of them."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            files = {entry.filename: opened.read(entry) for entry in opened.infolist()}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError, zlib.error):
        return _zip(rng.choice([seed for seed in seeds if seed.startswith(b"PK")]), rng, seeds)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, inner in files.items():
            often = 0.8 if name.endswith(".pkl") else 0.1
            info = zipfile.ZipInfo(name)  # without today's date
            archive.writestr(info, _bytes(inner, rng) if rng.random() < often else inner)
    return made.getvalue()


def _slots(tree: Any) -> list[tuple[Any, int]]:
    """Every place that holds a value: a pair and 1, or an array and an index."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        for i, item in enumerate(node):
            holder, at = (item, 1) if isinstance(node, Object) else (node, i)
            found.append((holder, at))
            if isinstance(holder[at], list):
                todo.append(holder[at])
    return found


def _lists(tree: Any) -> list[Any]:
    return [holder[at] for holder, at in _slots(tree) if isinstance(holder[at], list)]


def _change(tree: Object, rng: random.Random, form: Format) -> None:
    """One change somewhere in the tree."""
    slots = _slots(tree)
    if not slots:
        return
    holder, at = rng.choice(slots)
    lists = [inner for inner in _lists(tree) if inner]
    what = rng.random()
    if what < 0.35 or not lists:
        holder[at] = _leaf(rng, form.words)
    elif what < 0.45:
        other, there = rng.choice(slots)  # a copy: a tree that holds itself cannot be written
        mine, theirs = _copy(holder[at]), _copy(other[there])
        holder[at], other[there] = theirs, mine
    elif what < 0.55:
        source, there = rng.choice(slots)
        holder[at] = _copy(source[there])
    elif what < 0.62:
        holder[at] = _nudged(holder[at], rng)
    elif what < 0.68:
        inner = _copy(holder[at])
        holder[at] = rng.choice(
            (lambda: [inner], lambda: Object([[_key(rng, tree, form), inner]]))
        )()
    else:
        _restructure(rng.choice(lists), rng, tree, form)


def _restructure(chosen: Any, rng: random.Random, tree: Object, form: Format) -> None:
    """Change which items a list has, or the keys of an object."""
    i = rng.randrange(len(chosen))
    what = rng.random()
    if what < 0.3:
        del chosen[i]
    elif what < 0.5:
        chosen.insert(rng.randint(0, len(chosen)), _copy(chosen[i]))
    elif what < 0.6:
        rng.shuffle(chosen)
    elif what < 0.68:
        chosen[:] = chosen[:i]
    elif what < 0.72:
        item = chosen[i][1] if isinstance(chosen, Object) else chosen[i]
        times = 3 if isinstance(item, list) else rng.choice((3, 30, 300))
        chosen.extend(_copy(chosen[i]) for _ in range(times))
    elif isinstance(chosen, Object):
        chosen[i][0] = _key(rng, tree, form)
    else:
        chosen[i] = Object([[_key(rng, tree, form), _copy(chosen[i])]])


def _copy(value: Any) -> Any:
    if isinstance(value, Object):
        return Object([key, _copy(inner)] for key, inner in value)
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _key(rng: random.Random, tree: Object, form: Format) -> str:
    """Another key of the document, or one that none has."""
    keys = [key for inner in _lists(tree) if isinstance(inner, Object) for key, _ in inner]
    if keys and rng.random() < 0.6:
        return rng.choice(keys)
    return rng.choice((*STRINGS, *map(Raw, form.keys)))


def _nudged(value: Any, rng: random.Random) -> Any:
    """A value close by."""
    if isinstance(value, bool) or value is None:
        return rng.choice((True, False, None))
    if isinstance(value, int):
        return rng.choice(
            (value + 1, value - 1, -value, value * 2, float(value % 2**40), str(value)[:99])
        )
    if isinstance(value, float) and math.isfinite(value):
        return rng.choice((-value, value / 2, value * 1e9, round(value % 1e9), value % 1))
    if isinstance(value, str | float):
        value = value if isinstance(value, str) else str(value)
        at = rng.randint(0, len(value))
        piece = rng.choice(("", " ", "\n", "\0", "/", "'", '"', "`", "#", ": ", "\u202e", "é", "-"))
        return type(value)(value[:at] + piece + value[at + rng.randint(0, 2) :])
    return _copy(value[: len(value) // 2]) if not isinstance(value, Object) else Object(value[::-1])


def _leaf(rng: random.Random, words: tuple[str, ...]) -> Any:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(STRINGS)
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return Raw(rng.choice(words))
    if kind == 3:
        depth = rng.choice(DEPTHS)
        head, tail = rng.choice((("[", "]"), ('{"a":', "}"), ("[[],", "]")))
        return Raw(head * depth + "1" + tail * depth)
    if kind == 4:
        return [rng.choice(NUMBERS)] * rng.choice((1, 2, 3, 64, 600))
    return rng.choice((None, True, False, [], Object(), Object([["a", 1]]), [[]], "text", 0.5))


def _flow(tree: Any, text: Callable[[str], str], pair: str = ": ") -> str:
    """The tree between brackets, as JSON, TOML's inline tables and YAML's flow style have it."""
    if isinstance(tree, Object):
        inner = ", ".join(f"{text(key)}{pair}{_flow(value, text, pair)}" for key, value in tree)
        return "{" + inner + "}"
    if isinstance(tree, list):
        return "[" + ", ".join([_flow(value, text, pair) for value in tree]) + "]"
    return text(tree) if isinstance(tree, str) else json.dumps(tree)


def _quoted(text: str) -> str:
    return str(text) if isinstance(text, Raw) else json.dumps(text)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _tree(value: Any) -> Any:
    if isinstance(value, dict):
        return Object([key, _tree(inner)] for key, inner in value.items())
    if isinstance(value, list):
        return [_tree(inner) for inner in value]
    return value if isinstance(value, str | int | float) else Raw(value)  # TOML has dates


def _read_json(data: bytes) -> tuple[Any, Any]:
    return json.loads(data, object_pairs_hook=lambda pairs: Object(map(list, pairs))), None


def _write_json(tree: Any, _frame: None, _rng: random.Random) -> bytes:
    return _encoded(_flow(tree, _quoted))


def _read_safetensors(data: bytes) -> tuple[Any, Any]:
    if len(data) < 8:
        raise ValueError("no header")
    (length,) = struct.unpack("<Q", data[:8])
    return _read_json(data[8 : 8 + length])[0], data[8 + length :]


def _write_safetensors(tree: Any, frame: bytes, rng: random.Random) -> bytes:
    header = _write_json(tree, None, rng)
    length, body = len(header), frame
    wrong = rng.randrange(20)
    if wrong == 0:
        length = rng.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1)) % 2**64
    elif wrong == 1:
        body = body[: rng.randint(0, len(body))]
    elif wrong == 2:
        body += rng.randbytes(rng.randint(1, 9))
    return struct.pack("<Q", length) + header + body


def _read_bundle(data: bytes) -> tuple[Any, Any]:
    """A fingerprint: its document as a tree. Headers of tensors are changed by other targets."""
    if len(data) < 8:
        raise ValueError("no header")
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    try:
        ((key, document),) = header["__metadata__"].items()
        return _read_json(_encoded(document))[0], (header, key, data[8 + length :])
    except (TypeError, KeyError, AttributeError):
        raise ValueError("no document") from None


def _write_bundle(tree: Any, frame: Any, rng: random.Random) -> bytes:
    header, key, body = frame
    document = _flow(tree, _quoted)
    text = _encoded(json.dumps({**header, "__metadata__": {key: document}}))
    if rng.random() < 0.2:  # other numbers, as many
        at = rng.randrange(len(body))
        body = (body[:at] + rng.randbytes(rng.randint(1, 9)) + body[at:])[: len(body)]
    return struct.pack("<Q", len(text)) + text + body


def _read_toml(data: bytes) -> tuple[Any, Any]:
    return _tree(tomllib.loads(data.decode())), None


def _write_toml(tree: Any, _frame: None, _rng: random.Random) -> bytes:
    pairs = tree if isinstance(tree, Object) else [["claim", tree]]
    lines = [f"{_quoted(key)} = {_flow(value, _quoted, ' = ')}" for key, value in pairs]
    return _encoded("\n".join(lines).replace("null", '""'))


def _read_yaml(data: bytes) -> tuple[Any, Any]:
    # every scalar is the text that it is: what it means is for the reader under test
    return _tree(yaml.load(data.decode("utf-8", "replace"), Loader=_BASE)), None


_BASE = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def _write_yaml(tree: Any, _frame: None, rng: random.Random) -> bytes:
    if isinstance(tree, Object) and rng.random() < 0.5:  # the first level in block style
        lines = [f"{_scalar(key)}: {_flow(value, _scalar)}" for key, value in tree]
        return _encoded("\n".join(lines) + "\n")
    return _encoded(_flow(tree, _scalar))


def _scalar(text: str) -> str:
    if not text and not isinstance(text, Raw):
        return "~"
    return text if text == "<<" or PLAIN.fullmatch(text) else _quoted(text)


_FRONT = re.compile(rb"\A---\n(.*?)\n---\n", re.DOTALL)


def _read_card(data: bytes) -> tuple[Any, Any]:
    front = _FRONT.match(data)
    if front is None:
        raise ValueError("no front matter")
    return _read_yaml(front[1])[0], data[front.end() :]


def _write_card(tree: Any, frame: bytes, rng: random.Random) -> bytes:
    return b"---\n" + _write_yaml(tree, None, rng).strip(b"\n") + b"\n---\n" + frame


def _read_envelope(data: bytes) -> tuple[Any, Any]:
    """A DSSE envelope, with the Statement in it as a tree."""
    tree = _read_json(data)[0]
    pairs = dict(map(tuple, tree))
    pairs["payload"] = _read_json(b64decode(pairs["payload"]))[0]
    return Object(map(list, pairs.items())), None


def _write_envelope(tree: Any, _frame: None, rng: random.Random) -> bytes:
    """The Statement is packed again, or left as a tree where none can be."""
    if isinstance(tree, Object) and rng.random() < 0.9:
        tree = Object(
            [key, b64encode(_write_json(value, None, rng)).decode() if key == "payload" else value]
            for key, value in tree
        )
    return _write_json(tree, None, rng)


@dataclass(frozen=True)
class Format:
    """How documents of one kind are read and written, and what else may stand in them."""

    read: Callable[[bytes], tuple[Any, Any]]
    write: Callable[[Any, Any, random.Random], bytes]
    words: tuple[str, ...] = JSON_WORDS
    keys: tuple[str, ...] = ()


FORMATS = {
    "json": Format(_read_json, _write_json),
    "safetensors": Format(_read_safetensors, _write_safetensors),
    "bundle": Format(_read_bundle, _write_bundle),
    "toml": Format(_read_toml, _write_toml, TOML_WORDS, TOML_KEYS),
    "yaml": Format(_read_yaml, _write_yaml, YAML_WORDS, YAML_KEYS),
    "card": Format(_read_card, _write_card, YAML_WORDS, YAML_KEYS),
    "envelope": Format(_read_envelope, _write_envelope),
}
