"""A part of a list for each of several machines: all of it is taken, none of it twice."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from dpn.errors import InputError
from dpn.runs.items import Item


class Shard(NamedTuple):
    """The part `number`, from 0, of `parts`."""

    number: int
    parts: int

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this part: those whose names' hash leaves `number`.

        An item stays in its part when others come or go, and parts are as even as chance has them.
        """
        return [item for item in items if _hash(item.name) % self.parts == self.number]


def shard_named(text: str) -> Shard:
    """The part that "0/8" names.

    Raises:
        InputError: if it names none.

    Example:
        >>> shard_named("3/8")
        Shard(number=3, parts=8)
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"--shard must be I/N with I from 0 to N-1, as in 0/8, got {text}")
    return Shard(int(found[1]), int(found[2]))


def _hash(name: str) -> int:
    return int.from_bytes(sha256(name.encode(errors="surrogateescape")).digest()[:8])
