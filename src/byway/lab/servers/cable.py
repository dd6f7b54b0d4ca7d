"""A long cable: `cable DEVICE DEVICE SECONDS` carries frames both ways, each so much later.

Not every kernel has netem. Frames are moved with their virtio-net header, so that segmentation
and checksum offload pass through as they came (packet(7), PACKET_VNET_HDR).
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections import deque

from byway.lab.servers import deepen

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_LONGEST = 65536 + 64
_WAITING = 32 << 20  # bytes on the way in one direction; more is lost, as on a full queue


class Lane:
    """One direction of the cable."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        self.source = source
        self._sink = sink
        self._delay = delay
        self._queue: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    def take(self) -> None:
        """Put what has come onto the cable."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self.source.recv(_LONGEST)
                if self._bytes + len(frame) <= _WAITING:
                    self._queue.append((time.monotonic() + self._delay, frame))
                    self._bytes += len(frame)

    def give(self, now: float) -> float | None:
        """Send what is due; returns when the next frame is."""
        while self._queue and self._queue[0][0] <= now:
            _, frame = self._queue.popleft()
            self._bytes -= len(frame)
            with contextlib.suppress(OSError):
                self._sink.send(frame)
        return self._queue[0][0] if self._queue else None


def _open(device: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    deepen(end, 8 << 20)
    end.bind((device, _ETH_P_ALL))
    end.setblocking(False)
    return end


def main() -> None:
    """Carry until killed."""
    a, b = _open(sys.argv[1]), _open(sys.argv[2])
    delay = float(sys.argv[3])
    lanes = {a.fileno(): Lane(a, b, delay), b.fileno(): Lane(b, a, delay)}
    poll = select.epoll()
    for fd in lanes:
        poll.register(fd, select.EPOLLIN)
    print("ready", flush=True)
    due: float | None = None
    while True:
        timeout = -1 if due is None else max(0.0, due - time.monotonic())
        for fd, _ in poll.poll(timeout):
            lanes[fd].take()
        now = time.monotonic()
        waits = [when for lane in lanes.values() if (when := lane.give(now)) is not None]
        due = min(waits, default=None)


if __name__ == "__main__":
    main()
