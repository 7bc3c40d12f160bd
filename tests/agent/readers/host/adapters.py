"""A tree of /sys/class/infiniband, written in the kernel's formats, that a test can change."""

from pathlib import Path

ERRORS = ("symbol_error", "port_rcv_errors", "local_link_integrity_errors", "excessive_buffer_overrun_errors")


class Adapters:
    def __init__(self, sys: Path) -> None:
        self._devices = sys / "class/infiniband"

    def port(self, name: str, state: str = "4: ACTIVE", link_layer: str = "InfiniBand") -> Path:
        """Plug one in; by its name, "mlx5_0/1"."""
        device, number = name.split("/")
        folder = self._devices / device / "ports" / number
        (folder / "counters").mkdir(parents=True)
        (folder / "link_layer").write_text(f"{link_layer}\n")
        (folder / "rate").write_text("400 Gb/sec (4X NDR)\n")
        (folder / "state").write_text(f"{state}\n")
        self.count(folder, **dict.fromkeys(ERRORS, 0), link_downed=0, port_rcv_data=0, port_xmit_data=0)
        return folder

    @staticmethod
    def count(folder: Path, **counters: int | str) -> None:
        for name, value in counters.items():
            (folder / "counters" / name).write_text(f"{value}\n")
