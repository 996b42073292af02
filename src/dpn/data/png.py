"""PNG files whose pixels are whole, though something else in them is not."""

import zlib

PNG = b"\x89PNG\r\n\x1a\n"
"""What a PNG file begins with."""


def sound_chunks(content: bytes) -> bytes:
    """A PNG file without the chunks that are not needed and whose checksum is wrong; tRNS, which pixels need, stays."""
    kept, at = [PNG], len(PNG)
    while at < len(content):
        kind, end = content[at + 4 : at + 8], at + 8 + int.from_bytes(content[at : at + 4])
        wrong = zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4])
        if not (wrong and kind[:1].islower() and kind != b"tRNS"):
            kept.append(content[at : end + 4])
        at = end + 4
    return b"".join(kept)
