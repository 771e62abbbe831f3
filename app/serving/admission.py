"""Admission of requests: a limited number of tiles, and only as many images as can be done before their deadline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import ceil

from app.serving.clients import LEAST_RATE, Clients
from app.serving.errors import QueueFull, TooManyTiles
from app.serving.rates import Kind, TileRate, WorkerSeconds
from app.serving.reservation import Reservation
from model.inference.errors import Cancelled

FRESH_S = 2.0  # an upload that began longer ago must not keep other requests out
HEAD_S = 0.5  # nor must one that is slow after this long
MOST_REQUESTS = 1024
LONGEST_RETRY_S = 600
DEADLINE_SHARE = 0.5  # a request is accepted if this share of the time to its deadline is enough: speed may halve


class Admission:
    """Counts what is admitted and not done, and estimates when a further request would be done. Only for the event loop.

    Two resources are estimated apart, and the slower one counts: the network, by tiles at the measured rate, and the workers,
    by the seconds that images of their kinds took. The scheduler runs one tile of each request in turn, so before a request of
    n tiles is done, each other one has run at most n. At most `large_lanes` large images are in work at once, and their
    clients take turns; small images do not wait for them. An estimate can refuse a request only if others are ahead of it; as
    they finish, a wrong estimate is corrected.
    Invariant: `_queued_tiles` is the sum of the tiles of `_admissions`.
    """

    def __init__(
        self,
        max_queued_tiles: int,
        clock: Callable[[], float],
        *,
        clients: Clients | None = None,
        workers: int = 2,
        large_lanes: int = 1,
    ) -> None:
        """large_lanes: how many of the workers may work on large images at once."""
        self.max_queued_tiles = max_queued_tiles
        self.max_requests = MOST_REQUESTS
        self.tile_rate = TileRate(clock)
        self.worker_seconds = WorkerSeconds()
        self._clock = clock
        self._clients = clients or Clients()
        self._workers, self._large_lanes = workers, large_lanes
        self._uploading: set[Reservation] = set()
        self._admissions: dict[Reservation, None] = {}
        self._queued_tiles = 0

    @property
    def queued_tiles(self) -> int:
        """Tiles admitted and not done."""
        return self._queued_tiles

    @property
    def requests(self) -> int:
        """Requests that have a reservation."""
        return len(self._uploading) + len(self._admissions)

    @property
    def queue_seconds(self) -> float:
        """Seconds until all admitted requests are done, by the slower resource; 0 before anything is measured.

        Any thread may read it.
        """
        admissions = list(self._admissions)  # at once: the event loop may change it meanwhile
        large = [each for each in admissions if each.large]
        small = [each for each in admissions if not each.large]
        return max(
            self._network_s(self._queued_tiles),
            self._worker_s(small) / self._small_lanes(len(large)),
            self._worker_s(large) / self._large_lanes,
        )

    def reserve(self, reservation: Reservation, deadline: float) -> None:
        """Gives a request whose head has arrived a place, before its body is read. Raises `QueueFull`.

        If there are `max_requests` requests, the slowest upload is closed for it.
        """
        now = self._clock()
        if self.requests >= self.max_requests and not self._clients.close_slowest(uploads_of_images=True):
            message = f"{self.requests} requests are in progress, which is the limit"
            raise QueueFull(f"{message}; try again later", self._retry_s(self.queue_seconds))
        reservation.since = now
        self._check(reservation, deadline, sum(self._is_fresh(upload, now) for upload in self._uploading))
        self._uploading.add(reservation)

    def arrive(self, reservation: Reservation) -> None:
        """Counts the request's tile from now on, because its body has arrived. Calling it again does nothing."""
        if reservation in self._uploading:
            self._uploading.remove(reservation)
            self._admissions[reservation] = None
            self._queued_tiles += reservation.tiles

    def admit(self, reservation: Reservation, tiles: int, deadline: float, kind: Kind, megapixels: float) -> None:
        """Sets what is known of a request that has arrived, once its image is planned.

        Raises `TooManyTiles`, `QueueFull`, or `Cancelled` if the reservation was released meanwhile.
        """
        if tiles > self.max_queued_tiles:
            limit = self.max_queued_tiles
            advice = "give a smaller side; the operator can raise SEGMENT_MAX_QUEUED_TILES"
            raise TooManyTiles(f"the image has {tiles} tiles; the limit is {limit}; {advice}")
        if reservation not in self._admissions:
            raise Cancelled("the request was cancelled")
        self._check(replace(reservation, tiles=tiles, kind=kind, megapixels=megapixels), deadline, 0, reservation)
        self._queued_tiles += tiles - reservation.tiles
        reservation.tiles, reservation.kind, reservation.megapixels = tiles, kind, megapixels

    def count_tile(self, reservation: Reservation) -> None:
        """Counts a done tile of an admitted request. The last one is counted by `release`, after argmax and encoding."""
        if reservation in self._admissions and reservation.tiles > 1:
            reservation.tiles -= 1
            self._queued_tiles -= 1

    def release(self, reservation: Reservation) -> None:
        """Ends the reservation's place. Calling it again does nothing."""
        self._uploading.discard(reservation)
        if reservation in self._admissions:
            del self._admissions[reservation]
            self._queued_tiles -= reservation.tiles

    def _is_fresh(self, upload: Reservation, now: float) -> bool:
        """Whether an upload counts as one queued tile, because its body will soon be there: it has just begun, or is fast."""
        seconds = now - upload.since
        return seconds < HEAD_S or (seconds < FRESH_S and upload.body_bytes >= LEAST_RATE * seconds)

    def _check(self, request: Reservation, deadline: float, fresh_uploads: int, former: Reservation | None = None) -> None:
        """Raises `QueueFull` if the request has no room, or would be done too near its deadline.

        fresh_uploads: uploads that count as one queued tile each. former: the request's own entry, which does not count.
        """
        others = [other for other in self._admissions if other is not former]
        peers = [other for other in others if other.large == request.large]
        queued_tiles = sum(other.tiles for other in peers) + fresh_uploads
        before_s, needed_s = self._estimate(request, others, peers, fresh_uploads)
        if queued_tiles + request.tiles > self.max_queued_tiles:
            message = f"{queued_tiles} tiles are queued and at most {self.max_queued_tiles} are allowed"
            raise QueueFull(f"{message}; try again later", self._retry_s(before_s))
        if needed_s > (allowed_s := DEADLINE_SHARE * (deadline - self._clock())):
            problem = f"this request would be done in {needed_s:.1f} s, too close to its deadline"
            message = f"{queued_tiles} tiles are queued, and {problem}"
            raise QueueFull(f"{message}; try again later", self._retry_s(max(before_s, needed_s - allowed_s)), "deadline")

    def _estimate(
        self, request: Reservation, others: list[Reservation], peers: list[Reservation], fresh_uploads: int
    ) -> tuple[float, float]:
        """Returns two times in seconds: until there is room, and until this request is done. The second is 0 if it may try.

        A small image may try while fewer small ones than lanes are before it, unless their tiles keep the network busy. A large
        one waits for those of its client and, of each other client, for as many and one more.
        """
        lanes = self._large_lanes if request.large else self._small_lanes(len(others) - len(peers))
        if request.large:
            peers = _before_in_turn(request.sender, peers)
        passing = [other for other in others if other.large != request.large][: None if request.large else self._large_lanes]
        tiles = fresh_uploads + sum(min(other.tiles, request.tiles) for other in passing)
        tiles += sum(other.tiles if request.large else min(other.tiles, request.tiles) for other in peers)
        network_s, worker_s = self._network_s(tiles), self._worker_s(peers) + fresh_uploads * self.worker_seconds.of_small_image
        own_s = self._network_s(request.tiles), self._worker_s([request])
        if request.large:  # one after the other, each with its tiles
            before_s = network_s + worker_s / lanes
            return before_s, before_s + sum(own_s) if peers else (network_s + own_s[0] if tiles else 0.0)
        network_total = network_s + own_s[0] if tiles else 0.0
        worker_total = worker_s / lanes + own_s[1] if len(peers) + fresh_uploads >= lanes else 0.0
        return max(network_s, worker_s / lanes), max(network_total, worker_total)

    def _small_lanes(self, large_images: int) -> int:
        """How many workers work on small images at once, beside so many large images."""
        return max(1, self._workers - min(self._large_lanes, large_images))

    def _network_s(self, tiles: int) -> float:
        """Seconds that the network needs for so many tiles; 0 before its rate is measured."""
        rate = self.tile_rate.per_second
        return tiles / rate if rate else 0.0

    def _worker_s(self, requests: Iterable[Reservation]) -> float:
        """Seconds that one worker needs for the requests."""
        seconds = self.worker_seconds
        return sum(
            seconds.expected(request.kind, request.megapixels) if request.kind else seconds.of_small_image
            for request in requests
        )

    def _retry_s(self, seconds: float) -> int:
        """Whole seconds for `Retry-After`: at least 1, at most `LONGEST_RETRY_S`."""
        return min(LONGEST_RETRY_S, max(1, ceil(seconds)))


def _before_in_turn(sender: str, requests: list[Reservation]) -> list[Reservation]:
    """The requests before the sender's next one: its own and, of each other sender, as many and one more."""
    own, counts = sum(request.sender == sender for request in requests), Counter[str]()
    before = []
    for request in requests:
        counts[request.sender] += 1
        if counts[request.sender] <= own + 1:
            before.append(request)
    return before
