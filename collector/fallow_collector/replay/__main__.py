"""python -m fallow_collector.replay FILE [--json]: judges a recording again; exit status 0 identical, 1 not.

Without --json a table for people.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

import msgspec

from fallow_collector.replay.frames import BadRecording, read
from fallow_collector.replay.replay import Outcome, replay


def main() -> int:
    parser = ArgumentParser(prog="fallow replay")
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        outcome = replay(read(args.file))
    except BadRecording as error:
        sys.stderr.write(f"fallow replay: {error}\n")
        return 1
    sys.stdout.write(f"{msgspec.json.encode(outcome._asdict()).decode()}\n" if args.json else text(outcome))
    return 0 if outcome.difference is None else 1


def text(outcome: Outcome) -> str:
    lines = [
        f"recorded by  fallow-collector {outcome.version}",
        f"recorded for {outcome.duration_s:.1f} s ({outcome.ended or 'up to the difference'})",
        f"revisions    {outcome.first_revision} to {outcome.last_revision}, in {outcome.snapshots} snapshots",
        f"devices      {outcome.devices}",
        f"digest       {outcome.digest}",
    ]
    found = outcome.difference
    if found is None:
        lines.append("identical    every revision comes out as it was recorded")
    else:
        lines += [
            f"DIFFERENT    at revision {found.revision}: {found.axis} of {found.uuid or 'the view'}",
            f"  recorded   {found.recorded}",
            f"  recomputed {found.recomputed}",
        ]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
