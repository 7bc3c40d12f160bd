"""Running scontrol."""

import os
import subprocess

from fallow_client.slurm.errors import SlurmError

PATIENCE_S = 20.0


def scontrol(*words: str) -> str:
    """What it prints. Raises SlurmError."""
    what = f"scontrol {' '.join(words)}"
    try:
        done = subprocess.run(
            ["scontrol", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False,
            env={**os.environ, "SLURM_TIME_FORMAT": "standard"},  # a user's own may leave out the day
        )
    except FileNotFoundError as error:
        raise SlurmError("there is no scontrol on PATH; expected Slurm's commands on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{what} did not answer within {PATIENCE_S:.0f} s; is slurmctld up?") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise SlurmError(f"{what} failed: {said[:500]}")
    return done.stdout.decode(errors="replace")
