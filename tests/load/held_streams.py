"""Opens event streams and holds them: `python -m tests.load.held_streams PORT COUNT TOKEN SECONDS`.

They are opened evenly over SECONDS, so that what happens to each from time to time (a comment) does not
happen to all at once. Prints a line when all are open; when its input ends, prints how many still are.
"""

from __future__ import annotations

import asyncio
import sys

from tests.load.calls import UnexpectedError, request


class Streams:
    """The streams, and how many of them are open."""

    def __init__(self) -> None:
        self.open = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def hold(self, port: int, token: str) -> None:
        """Open one, and read it to its end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(port, token))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise UnexpectedError(head)
        self.open += 1
        while await reader.read(4096):
            pass
        self.open -= 1
        writer.close()


async def main(port: int, count: int, token: str, seconds: float) -> None:
    """Open the streams, tell so, and hold them until the input ends."""
    streams = Streams()
    for _ in range(count):
        streams.tasks.add(asyncio.create_task(streams.hold(port, token)))
        await asyncio.sleep(seconds / count)
    while streams.open < count:
        for task in streams.tasks:
            if task.done():
                task.result()  # raises why there is none
                raise UnexpectedError("a stream ended by itself")
        await asyncio.sleep(0.05)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(streams.open)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
