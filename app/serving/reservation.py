"""What one image holds in the service: its place in the queue, its memory, its files and the bytes of its file and answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from app.serving.rates import Kind
from model.inference.processes.protocol import Body


@dataclass(eq=False)
class Reservation:
    """What one image holds in the service. A request has one from its head on, before its image is known.

    Only for the event loop.

    A context manager: its end gives everything back. sender: who sent the request, for fair turns. on_close: ends what the
    service counts; it may be called again.

    `Admission` sets its place in the queue. since: when the head arrived. tiles: 1 until the image is planned, then the
    number of its tiles that are not done. kind, megapixels: of the image; None and 0 until it is planned.

    `Budget` sets what it uses. body_bytes, work_bytes, answer_bytes: of memory. files: open files. has_large_work: whether a
    large image is in work.
    """

    sender: str = ""
    on_close: Callable[[Reservation], None] = lambda _: None
    since: float = 0.0
    tiles: int = 1
    kind: Kind | None = None
    megapixels: float = 0.0
    body_bytes: int = 0
    work_bytes: int = 0
    answer_bytes: int = 0
    files: int = 0
    has_large_work: bool = False
    _bodies: list[Body] = field(default_factory=list)

    @property
    def large(self) -> bool:
        """Whether it is known to be a large image."""
        return self.kind is not None and self.kind.large

    def own(self, body: Body) -> Body:
        """Closes the body at the end, if nobody has closed it before. Returns it."""
        self._bodies.append(body)
        return body

    def close(self) -> None:
        """Gives everything back. Calling it again does nothing."""
        while self._bodies:
            self._bodies.pop().close()
        self.on_close(self)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
