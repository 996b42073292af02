"""What Prometheus is told."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Meter:
    """Counts the requests to label an image; those for other pages are not counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept = {"registry": self.registry}
        self._requests = Counter("dpn_requests", "Requests answered, by their HTTP status.", ["status"], **kept)
        self._seconds = Histogram("dpn_request_seconds", "From a request's head to its answer.", buckets=SECONDS, **kept)
        self._images = Counter("dpn_images", "Images labelled.", **kept)
        help = "Of each image labelled: how many the network saw together, itself counted."
        self._batch = Histogram("dpn_batch_size", help, buckets=(1, 2, 4, 8, 16, 32), **kept)
        self.waiting = Gauge("dpn_requests_waiting", "Requests that wait or are computed now.", **kept)

    def answered(self, status: int, seconds: float, batch: int = 0) -> None:
        """A request is done; `batch` is 0 where no image was labelled."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)
        if batch:
            self._images.inc()
            self._batch.observe(batch)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it: text of `MEDIA_TYPE`."""
        return bytes(generate_latest(self.registry))
