"""What the server's own protocol offers an app beyond ASGI: its interface, and its name in a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from function.server.arrival import Arrival

EXTENSION = "zeroserve.connection"  # among the extensions of an ASGI scope; absent in other servers


class Connection(Protocol):
    """The connection of one request."""

    lost: bool  # the client is known to be gone, and the answer would reach nobody
    on_lost: Callable[[], object] | None  # called when `lost` becomes true
    ends_with_client: bool  # nobody waits for the answer any more where the client sends no more

    def readable(self) -> int:
        """Bytes that wait in the socket."""

    def reads_whole(self) -> bool:
        """Whether the body is a large one of known length, which is still in the socket: `read_whole` gets it."""

    def write(self, data: bytes) -> bool:
        """A piece of an answer that has begun to stream; False where the client should read first."""

    async def drain(self) -> None:
        """Waits until the client has read on, or is gone."""

    async def read_whole(self, arrival: Arrival) -> bytearray:
        """The body in one buffer; ClientGoneError when the connection ends before it does."""
