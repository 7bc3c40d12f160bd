"""What the real scontrol of Slurm 22.05.8 printed."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "data" / "slurm"


def capture(name: str) -> str:
    return (FOLDER / name).read_text()
