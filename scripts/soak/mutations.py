"""Damage to files that knows how they are made: checksums and lengths are mended after it, so that it gets far in."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from re import finditer
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
NUMBERS = (0, 1, 2, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = ("-1", "0", "1e999", "-1e-400", "9" * 26, ".nan", "NaN", "null", "~", "true", "[]", "{}", '""', "''", "1.5", "[1, [2]]",
         "../../etc", "\\x00",
         "!!python/object:os.system", "*a", "&a [*a]", "<<", "é", "\U0001f600", "a" * 5000, "1" + "0" * 12)  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, 0, -1, 10**12, 10**40, 1.5, -1e300, float("nan"), float("inf"), "", "x", "9", "a" * 5000,
                           [], [[]], {}, {"a": 1}, [None], ["a", 1], [-1, -1], [10**9, 10**9])  # fmt: skip
DEEP = 3000
"""How deeply a nest is nested."""


def mutated(content: bytes, suffix: str, other: bytes, random: Random) -> bytes:
    """A file's content, damaged once to four times; `other` is another of its kind, of which pieces are taken."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        try:
            content = random.choice(_ways(suffix))(content, other, random)
        except Exception:
            content = _bytes(content, other, random)  # it is so damaged by now that nothing tells how it is made
    return content


def _ways(suffix: str) -> list[Callable[[bytes, bytes, Random], bytes]]:
    inner = {
        ".png": _png,
        ".safetensors": _safetensors,
        ".pt": _zip,
        ".ckpt": _zip,
        ".npz": _zip,
        ".json": _json,
        ".yaml": _text,
        ".txt": _text,
        ".csv": _text,
        ".xml": _text,
        ".ppm": _text,
        ".npy": _text,
    }.get(suffix)
    return [_bytes] if inner is None else [_bytes, inner, inner, inner]


def _bytes(content: bytes, other: bytes, random: Random) -> bytes:
    """Bytes are changed, cut out, put in, repeated; extreme numbers stand where there may be a size or an offset."""
    at = int(len(content) * random.random() ** random.choice((1, 3)))  # heads more often
    end = min(len(content), at + random.choice((1, 2, 4, 8, 64, 1024)))
    way = random.randrange(8)
    if way == 0:
        return content[:at]
    if way == 1:
        return content[:at] + content[end:]
    if way == 2:
        return content[:end] + content[at:]
    if way == 3:
        start = random.randrange(len(other) + 1)
        return content[:at] + other[start : start + random.choice((4, 64, len(other)))] + content[random.choice((at, end)) :]
    if way == 4:
        return content[:at] + random.randbytes(end - at) + content[end:]
    if way == 5:
        number = struct.pack(random.choice(("<I", ">I", "<H", ">H", "<Q", ">Q")), random.choice(NUMBERS) & 0xFFFF)
        number = random.choice((number, struct.pack(random.choice(("<I", ">I")), random.choice(NUMBERS))))
        return content[:at] + number + content[at + len(number) :]
    if way == 6:
        return content[:at] + random.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * random.choice((1, 4)) + content[end:]
    changed = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _png(content: bytes, other: bytes, random: Random) -> bytes:
    """One chunk is changed, under a checksum that fits."""
    chunks, at = [], len(PNG)
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    number = random.randrange(len(chunks))
    kind, body = chunks[number]
    way = random.randrange(5)
    if way == 0:
        chunks.pop(number)
    elif way == 1:
        chunks.insert(random.randrange(len(chunks) + 1), (kind, body))
    elif kind == b"IDAT" and way < 4:
        chunks[number] = (kind, zlib.compress(_bytes(zlib.decompress(body), other, random)))
    elif kind == b"IHDR":
        field, width = random.choice(((0, 4), (4, 4), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1)))
        number_ = (random.choice(NUMBERS) & (256**width - 1)).to_bytes(width)
        chunks[number] = (kind, body[:field] + number_ + body[field + width :])
    else:
        chunks[number] = (kind, _bytes(body, other, random))
    framed = (len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4) for kind, body in chunks)
    return PNG + b"".join(framed)


def _safetensors(content: bytes, other: bytes, random: Random) -> bytes:
    """The head is changed as JSON, what dpn noted in it too, under a length that fits; or the numbers are."""
    size = int.from_bytes(content[:8], "little")
    head, numbers = json.loads(content[8 : 8 + size]), content[8 + size :]
    way = random.randrange(4)
    if way == 0:
        values = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f"))
        at = 4 * random.randrange(max(1, len(numbers) // 4))
        numbers = numbers[:at] + values + numbers[at + 4 :]
    elif way == 1:
        head = _changed(head, random)
    elif "dpn" in head.get("__metadata__", {}):
        head["__metadata__"]["dpn"] = _dumped(_changed(json.loads(head["__metadata__"]["dpn"]), random), random)
    written = _dumped(head, random).encode()
    return len(written).to_bytes(8, "little") + written + numbers


def _zip(content: bytes, other: bytes, random: Random) -> bytes:
    """One member of a zip file is changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = random.choice(names)
        for name in names:
            body = old.read(name)
            if name == chosen:
                if random.random() < 0.1:
                    continue
                body = _bytes(body, other, random)
            new.writestr(name, body)
    return out.getvalue()


def _json(content: bytes, other: bytes, random: Random) -> bytes:
    return _dumped(_changed(json.loads(content), random), random).encode()


def _changed(value: Any, random: Random) -> Any:
    """JSON with one of its values another, gone, or under another name."""
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        pairs = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        for key, each in list(pairs):
            places.append((inner, key))
            walk(each)

    walk(value)
    if not places or random.random() < 0.03:
        return random.choice(VALUES)
    inner, key = random.choice(places)
    way = random.randrange(6)
    if way == 0:
        del inner[key]
    elif way == 1 and isinstance(inner, dict):
        inner[random.choice(("x", "", str(key) + "s", "labels"))] = inner.pop(key)
    elif way == 2:
        there, where = random.choice(places)
        inner[key] = there[where] if isinstance(there, dict) and where in there else random.choice(VALUES)
    else:
        inner[key] = random.choice(VALUES)
    return value


def _dumped(value: Any, random: Random) -> str:
    text = json.dumps(value)
    if random.random() < 0.02:
        text = text.replace("1", "[" * DEEP + "]" * DEEP, 1)
    return text


def _text(content: bytes, other: bytes, random: Random) -> bytes:
    """Words, numbers and lines are changed; or how it is encoded."""
    text = content.decode("latin-1")
    lines = text.splitlines(keepends=True) or [""]
    way = random.randrange(9)
    if way < 4:
        found = list(finditer(r"-?\d+(\.\d+)?|[\w./-]+", text))
        word = random.choice(found)
        return (text[: word.start()] + random.choice(WORDS) + text[word.end() :]).encode("utf-8")
    number = random.randrange(len(lines))
    if way == 4:
        lines.pop(number)
    elif way == 5:
        lines.insert(random.randrange(len(lines)), lines[number])
    elif way == 6:
        lines[number] = random.choice(("  ", "\t", "- ", "? ", "{", "[" * DEEP, "#", "%")) + lines[number]
    elif way == 7:
        theirs = other.decode("latin-1").splitlines(keepends=True) or [""]
        lines[number] = random.choice(theirs)
    else:
        return text.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
    return "".join(lines).encode("latin-1", "replace")
