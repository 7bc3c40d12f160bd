"""A kernel log as /dev/kmsg is one: a packet pipe gives one record a read, and says when there is no more."""

import os


class Kmsg:
    """The kernel's end, and the path that a reader of any process opens."""

    def __init__(self) -> None:
        self._end, self._write = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        self.path = f"/proc/{os.getpid()}/fd/{self._end}"
        self._seq = 0

    def say(self, text: str, stamp: float = 100.0) -> None:
        os.write(self._write, f"4,{self._seq},{round(stamp * 1e6)},-;{text}\n".encode())
        self._seq += 1

    def say_raw(self, record: bytes) -> None:
        os.write(self._write, record)

    def close(self) -> None:
        os.close(self._write)
        os.close(self._end)
