"""What a request may cost, and all of them together."""

from dataclasses import dataclass

LARGEST = 2049
"""The longer side, in pixels, at which a request may have the network see its image: memory grows with its square."""


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        max_mb: of the body, in 10^6 bytes.
        max_megapixels: of the image, in 10^6 pixels, as its head tells them.
        queue: requests that are waited for or computed at one time.
        timeout: seconds from a request's first byte to its answer.
    """

    max_mb: float = 32
    max_megapixels: float = 50
    queue: int = 64
    timeout: float = 60
