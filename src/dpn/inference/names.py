"""What outputs are called, so that each says which input it came from."""

import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path


def output_names(files: Sequence[Path]) -> list[str]:
    """A name for each of different files: its own without the suffix, or as much of its path as tells it from the others.

    Names differ in more than capitals, which some file systems take for the same; where paths do not, by a hash of theirs.

    Example:
        >>> output_names([Path("b.jpg"), Path("x.jpg"), Path("x.png"), Path("a/y.jpg"), Path("b/y.jpg")])
        ['b', 'x.jpg', 'x.png', 'a_y.jpg', 'b_y.jpg']
    """
    names = [file.stem for file in files]
    parts = [file.absolute().parts[1:] for file in files]
    for length in range(1, max(map(len, parts), default=0) + 1):
        count = _count(names)
        names = [
            "_".join(part[-length:]) if count[name.casefold()] > 1 else name for name, part in zip(names, parts, strict=True)
        ]
    count = _count(names)
    return [
        f"{file.name}_{_hash(file)}" if count[name.casefold()] > 1 else name for name, file in zip(names, files, strict=True)
    ]


def _hash(file: Path) -> str:
    return sha256(os.fsencode(file.absolute())).hexdigest()[:12]


def _count(names: list[str]) -> Counter[str]:
    return Counter(name.casefold() for name in names)
