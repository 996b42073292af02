"""Values for TensorBoard's curves. Its own writer is a thread, which tells of a full disk by a traceback; this one is none."""

import os
import platform
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dpn.files import writing


class Events:
    """A new file of events in a folder, which is made.

    Args:
        folder: where TensorBoard is started.
        step: values of this step and later ones that earlier files have are no longer shown.

    Raises:
        InputError: if it cannot be written; so do all methods.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     events = Events(Path(folder), 1)
        ...     events.add("unary/loss", 0.5, 1)
        ...     events.close()
        ...     [path.name.startswith("events.out.tfevents.") for path in Path(folder).iterdir()]
        [True]
    """

    def __init__(self, folder: Path, step: int) -> None:
        name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}.{time.monotonic_ns()}"
        self.path = folder / name
        with writing(self.path):
            folder.mkdir(exist_ok=True)
            self._file = self.path.open("xb", buffering=0)
        self._records = RecordWriter(self._file)
        self._write(Event(step=step, file_version="brain.Event:2"))
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, name: str, value: float, step: int) -> None:
        """A value of a curve."""
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)])))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with writing(self.path):
            self._records.write(event.SerializeToString())
