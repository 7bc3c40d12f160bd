"""What the rules say of the tables at one moment."""

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """A row for which a rule holds. labels: complete, empty ones left out; `fingerprint` is theirs. annotations: ready
    to be read."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One rule that was evaluated. What is neither in `held` nor in `unknown` does not hold, or has no row any more.

    held: each fingerprint once. unknown: fingerprints of the rows of which it cannot be said whether it holds, and of
    those beyond the bound; made at the first question, so ask only of alerts that are there and are not held.
    omitted: rows for which it holds that are left out of `held`, because more than the bound hold.
    """

    held: Collection[Held]
    unknown: Container[str]
    omitted: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """outcomes: by name of rule. A rule that is known and not among them was not evaluated: its alerts stay as they
    are. problems: why not, by name of rule. took_s: what it cost."""

    outcomes: Mapping[str, Outcome]
    problems: Mapping[str, str]
    took_s: float
