"""Object stores by URL, s3://bucket/photographs: fsspec opens them."""

import re
from typing import Any, NamedTuple

from dpn.errors import InputError, first_line

URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
LOCAL = "file://"


class Store(NamedTuple):
    """A place in a store.

    Attributes:
        system: fsspec's file system.
        path: the place as the file system calls it, without the protocol.
    """

    system: Any
    path: str


def is_url(text: str) -> bool:
    """Whether a text names a place in a store, and not on this machine.

    Example:
        >>> is_url("s3://bucket/a.jpg"), is_url("file:///data/a.jpg"), is_url("a.jpg")
        (True, False, False)
    """
    return bool(URL.match(text)) and not text.startswith(LOCAL)


def local(text: str) -> str:
    """A path on this machine, without file://.

    Example:
        >>> local("file:///data/a.jpg"), local("a.jpg")
        ('/data/a.jpg', 'a.jpg')
    """
    return text.removeprefix(LOCAL)


def store(url: str) -> Store:
    """The place that a URL names.

    Raises:
        InputError: if fsspec, or what it needs for this kind of store, is not installed, or the store cannot be opened.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise InputError(f"{url}: a URL needs fsspec: pip install -c constraints.txt -e '.[cloud]'") from error
    try:
        return Store(*url_to_fs(url))
    except Exception as error:  # each kind of store has its own
        raise InputError(f"{url}: the store cannot be opened ({first_line(error)})") from error


def stamp(info: dict[str, Any]) -> str:
    """What changes when a file in a store does: its size, and the first there is of its checksum and its times.

    Example:
        >>> stamp({"name": "bucket/a.jpg", "size": 12, "ETag": '"9b2c"'})
        '12-"9b2c"'
    """
    known = (info.get(name) for name in ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "mtime", "created"))
    return f"{info.get('size')}-{next((each for each in known if each), '')}"
