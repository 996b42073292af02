"""Which values of masks and annotations stand for which label."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dpn.data.images import VOID
from dpn.data.palette import voc_palette
from dpn.errors import InputError

Value = int | str | tuple[int, int, int]
"""What stands for a label: an id in masks, the name of a category of outlines, or an RGB colour."""

UNKNOWN = -1

PART = 2**21
"""Pixels whose labels are looked up at a time."""


@dataclass(frozen=True)
class LabelMap:
    """The names of the labels, and which values of masks and annotations stand for them.

    Attributes:
        names: of labels 0, 1, ...
        label_of: {value: its label, or 255, which is void}.
        others: what all other values are, a label or 255; None refuses them.
        image_suffix: what the names of images end with, before .jpg; None is what is usual, as `dpn.data.pairs` has it.
        mask_suffix: the same of masks.
    """

    names: tuple[str, ...]
    label_of: Mapping[Value, int]
    others: int | None = None
    image_suffix: str | None = None
    mask_suffix: str | None = None

    @classmethod
    def numbered(cls, names: Sequence[str], *, void: int = VOID) -> "LabelMap":
        """Labels of ids 0, 1, ... in the order of their names; `void` and 255 are void.

        Example:
            >>> LabelMap.numbered(["sky", "sea"]).labels(np.array([[1, 0, 255]]), "mask.png")
            array([[  1,   0, 255]], dtype=uint8)
        """
        label_of: dict[Value, int] = {VOID: VOID}
        for label, name in enumerate(names):
            label_of[label] = label_of[name] = label
        return cls(tuple(names), label_of | {void: VOID})

    def labels(self, values: np.ndarray, source: str | Path) -> np.ndarray:
        """The labels, (H,W) uint8, of a mask's ids (H,W) or of its RGB colours (H,W,3); `source` is its name in errors.

        Colours are those of the labels; where these have none, VOC's, or greys that are ids.

        Raises:
            InputError: a value stands for no label.
        """
        rows = max(1, PART // max(1, values.shape[1]))
        whole = values if values.ndim == 2 or self.by_colour else ids_of_colours(values, source)
        parts = [self._labels(whole[top : top + rows], source) for top in range(0, max(1, len(whole)), rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _labels(self, values: np.ndarray, source: str | Path) -> np.ndarray:
        """The labels of some rows of a mask."""
        if values.ndim == 3:
            named = {_code(value): label for value, label in self.label_of.items() if isinstance(value, tuple)}
            found = self._found(_codes(values), named)
            if unknown := [(c >> 16, c >> 8 & 255, c & 255) for c in np.unique(_codes(values[found == UNKNOWN])).tolist()]:
                raise InputError(
                    f"{source}: no label has the colours {few(unknown)}; name them, or say what `others` are, in labels.yaml"
                )
            return found.astype(np.uint8)
        named = {value: label for value, label in self.label_of.items() if isinstance(value, int)}
        found = self._found(values, named)
        if unknown := np.unique(values[found == UNKNOWN]).tolist():
            allowed = _ranges(value for value, label in named.items() if label != VOID)
            void = _ranges(value for value, label in named.items() if label == VOID)
            raise InputError(
                f"{source}: mask values {few(unknown)} are no labels; allowed are {allowed or 'colours'}, and {void} (void)"
            )
        return found.astype(np.uint8)

    def category(self, name: str, source: str | Path) -> int:
        """The label of a category of outlines, or 255.

        Raises:
            InputError: the category stands for no label.
        """
        label = self.label_of.get(name, self.others)
        if label is None:
            raise InputError(
                f"{source}: category {name!r} is none of the labels ({few(self.names)}); "
                "name it, or say what `others` are, in labels.yaml"
            )
        return label

    @property
    def by_colour(self) -> bool:
        """Whether colours stand for labels."""
        return any(isinstance(value, tuple) for value in self.label_of)

    @property
    def by_id(self) -> bool:
        """Whether ids stand for labels."""
        return any(isinstance(value, int) and label != VOID for value, label in self.label_of.items())

    @cached_property
    def palette(self) -> np.ndarray:
        """(256,3) uint8: the first colour that stands for each label, VOC's where there is none."""
        palette = voc_palette()
        for value, label in reversed(list(self.label_of.items())):
            if isinstance(value, tuple) and label != VOID:
                palette[label] = value
        return palette

    def _found(self, values: np.ndarray, named: Mapping[int, int]) -> np.ndarray:
        """The label of each value, UNKNOWN where there is none."""
        others = UNKNOWN if self.others is None else self.others
        if not named:
            return np.full(values.shape, others)
        keys = np.array(sorted(named))
        of_keys = np.array([named[key] for key in keys.tolist()], np.int16)
        if values.min() >= 0 and (largest := max(values.max(), keys[-1])) < 1 << 16:
            table = np.full(int(largest) + 1, others, np.int16)
            table[keys] = of_keys
            found: np.ndarray = table[values]
            return found
        at = np.searchsorted(keys, values).clip(max=len(keys) - 1)
        return np.where(keys[at] == values, of_keys[at], others)


def ids_of_colours(colours: np.ndarray, source: str | Path) -> np.ndarray:
    """RGB colours (H,W,3) that no label has as ids (H,W): rows of VOC's palette, or greys.

    Raises:
        InputError: a colour is neither.
    """
    palette, codes = _codes(voc_palette()), _codes(colours)
    order = np.argsort(palette)
    ids: np.ndarray = order[np.searchsorted(palette[order], codes).clip(max=len(palette) - 1)]
    unknown = palette[ids] != codes
    if unknown.any() and (colours == colours[..., :1]).all():
        return colours[..., 0].astype(np.int64)
    if unknown.any():
        first = tuple(colours[unknown][0].tolist())
        raise InputError(f"{source}: colour {first} is not in PASCAL VOC's palette; name the labels' colours in labels.yaml")
    return ids


def _codes(colours: np.ndarray) -> np.ndarray:
    red, green, blue = (colours[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def _code(colour: tuple[int, int, int]) -> int:
    return int(_codes(np.array(colour)))


def _ranges(ids: Iterable[int]) -> str:
    """Sorted ids in few words, as "0 to 3, 7"."""
    runs: list[list[int]] = []
    for value in sorted(ids):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return few([f"{first} to {last}" if last > first else str(first) for first, last in runs])


def few(things: Sequence[object]) -> str:
    """The first eight of things, and how many more there are."""
    return ", ".join(map(str, things[:8])) + (f" and {len(things) - 8} more" if len(things) > 8 else "")
