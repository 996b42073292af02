"""The files in which people say what stands for which label: `labels.yaml`, or `labels.txt` where ids are 0, 1, ..."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from dpn.data.images import VOID
from dpn.data.label_map import LabelMap, Value, few
from dpn.data.text import read_lines, read_text
from dpn.errors import InputError
from dpn.plain import LARGEST, require_bounded

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
"""How YAML's booleans are written, in any case of letters."""

FILES = ("labels.yaml", "labels.yml", "labels.txt")
"""Where a folder may name its labels; the first that is there is read."""

KEYS = ("labels", "void", "others", "reduce_zero_label", "image_suffix", "mask_suffix")


def read_labels(path: Path) -> LabelMap:
    """Reads a file of labels: a name a line, or YAML with these keys, of which `labels` alone is needed.

    =====================  ===========================================================================================
    ``labels``             a list of names, whose ids are 0, 1, ...; or ``name: value``, where a value is an id (``7``),
                           a colour (``128 64 128`` or ``"#804080"``), a category of outlines, or a list of these; ids
                           and colours may come first, as ``7: road``
    ``void``               the value, or the list of values, that is neither trained on nor counted; 255 always is,
                           unless it stands for a label
    ``others``             ``void`` or a label's name: what every other value is; without it, others are refused
    ``reduce_zero_label``  ``true``: the ids of a list of names are 1, 2, ..., and 0 is void
    ``image_suffix``       what images' names end with before .jpg, as ``_leftImg8bit``
    ``mask_suffix``        the same of masks, as ``_gtFine_labelIds``
    =====================  ===========================================================================================

    Raises:
        InputError: the file cannot be read, or a line of it does not serve.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "labels.yaml")
        ...     _ = file.write_text("labels: {road: 7, car: [26, 27]}")
        ...     found = read_labels(file)
        >>> found.names, found.label_of[7], found.label_of[26], found.label_of[27]
        (('road', 'car'), 0, 1, 1)
    """
    if path.suffix not in (".yaml", ".yml"):
        return LabelMap.numbered(list(read_lines(path).values()))
    try:
        require_bounded(path, text := read_text(path, LARGEST))
        return _parsed(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def labels_file(home: Path) -> Path | None:
    """The file that names a folder's labels; None where there is none."""
    return next((home / name for name in FILES if (home / name).is_file()), None)


def _parsed(text: str) -> LabelMap:
    pairs = _pairs(yaml.compose(text, Loader=yaml.BaseLoader), "the file")
    given = dict(pairs)
    if len(given) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InputError(f"the key {twice!r} is there twice; keep one of them")
    given = {key: node for key, node in given.items() if not _is_null(node)}
    if unknown := given.keys() - set(KEYS):
        raise InputError(f"no key is called {min(unknown)!r}; there are {', '.join(KEYS)}")
    if "labels" not in given:
        raise InputError("no key `labels`: a list of names, or `name: value` a line")
    listed = isinstance(given["labels"], yaml.SequenceNode)
    shift = _flag(given, "reduce_zero_label")
    if shift and not listed:
        raise InputError("reduce_zero_label needs `labels` to be a list of names; ids that are named need no shift")
    void = [_value(text) for text in _texts(given["void"], "void")] if "void" in given else []
    if listed:
        names = _texts(given["labels"], "labels")
        of_label: list[list[Value]] = [[label + shift] for label in range(len(names))]
    else:
        named = [(name, [_value(text) for text in _texts(node, name)]) for name, node in _pairs(given["labels"], "labels")]
        if all(not isinstance(_value(name), str) and all(isinstance(each, str) for each in of) for name, of in named):
            named = _turned(named)
        names = [name for name, _ in named]
        of_label = [values for _, values in named]
    label_of = dict[Value, int]()
    meant = [(label, value) for label, values in enumerate(of_label) for value in values]
    for label, value in meant + [(VOID, value) for value in void]:
        if label_of.setdefault(value, label) != label:
            both = " and ".join(names[each] if each != VOID else "void" for each in (label_of[value], label))
            raise InputError(f"{value} stands for {both}; one value has one meaning (colours are written 128 64 128)")
    others = _text(given, "others")
    if others not in (None, "void", *names):
        raise InputError(f"others: {others!r} is neither void nor a label ({few(names)})")
    for label, name in enumerate(names):
        label_of.setdefault(name, label)
    for value in (VOID, *[0] * shift):
        label_of.setdefault(value, VOID)
    return LabelMap(
        tuple(names),
        label_of,
        None if others is None else VOID if others == "void" else names.index(others),
        _text(given, "image_suffix"),
        _text(given, "mask_suffix"),
    )


def _turned(named: Sequence[tuple[str, Sequence[Value]]]) -> list[tuple[str, list[Value]]]:
    """What was written as `value: name`, as `name: values`; a name may occur several times."""
    values = dict[str, list[Value]]()
    for value, names in named:
        for name in names:
            values.setdefault(str(name), []).append(_value(value))
    return list(values.items())


def _pairs(node: yaml.Node | None, what: str) -> list[tuple[str, yaml.Node]]:
    """A mapping's keys and values, in order, repeated keys included, which YAML's own readers lose."""
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{what} needs lines of `name: value`")
    pairs = [(key.value, value) for key, value in node.value]
    if not all(isinstance(key, str) for key, _ in pairs):
        raise InputError(f"{what}: a name is a word or several, not a list")
    return pairs


def _texts(node: yaml.Node, what: str) -> list[str]:
    """One text, or a list of them."""
    texts = [each.value for each in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{what}: give one value or a list of values")
    if not all(texts):
        raise InputError(f'{what}: a value is empty; a colour that begins with # needs quotes, as "#804080"')
    return texts


def _text(given: Mapping[str, yaml.Node], key: str) -> str | None:
    """The one text of a key; None where the key is not there."""
    if key not in given:
        return None
    if not isinstance(given[key], yaml.ScalarNode):
        raise InputError(f"{key}: give one value")
    return str(given[key].value)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value.lower() in ("null", "~")


def _flag(given: Mapping[str, yaml.Node], key: str) -> bool:
    """Whether a key says yes; it does not where it is not there."""
    text = _text(given, key)
    if text is not None and text.lower() not in YES + NO:
        raise InputError(f"{key}: {text!r} is neither true nor false")
    return text is not None and text.lower() in YES


def _value(text: str) -> Value:
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
        return red, green, blue
    if numbers := re.fullmatch(r"\(?(\d+)[ ,]+(\d+)[ ,]+(\d+)\)?", text):
        red, green, blue = map(int, numbers.groups())
        if max(red, green, blue) > 255:
            raise InputError(f"colour {text}: red, green and blue are 0 to 255")
        return red, green, blue
    return text
