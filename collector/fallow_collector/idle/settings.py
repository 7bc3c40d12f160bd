"""Every threshold of the judgement, with its default and its reason (`[idle]` in collector.toml)."""

from collections import Counter
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec


class HolderSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A process that does not count as holding its device, such as a display server; what is empty matches anything."""

    command: str = ""
    user: str = ""
    max_memory_bytes: int = 0

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("a holder needs at least a command: the file name of the executable, e.g. Xorg")


class Thresholds(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What one device is judged by; `[[idle.models]]` may say each of them otherwise for one model."""

    # The window: an unbroken run of readings that must show nothing before a device is idle.
    confirm_s: float = 60.0
    confirm_readings: int = 10
    confirm_after_release_s: float = 10.0  # when the holder of its lease released it and the device was seen clean

    # Silence. The limits in force are max(stale_s, 3 intervals) and max(lost_s, 10 intervals).
    stale_s: float = 5.0
    lost_s: float = 30.0

    # How long a contradiction, work that nobody claims, or a standing energy counter may last.
    conflict_s: float = 15.0
    unmanaged_s: float = 15.0
    frozen_s: float = 15.0
    power_grey_s: float = 600.0  # clean and still, but clocks pinned: quiet after this long

    # A lease that does nothing: quiet for so long, and not in its first minutes.
    reclaim_idle_s: float = 1800.0
    reclaim_grace_s: float = 300.0

    # Activity. On the Seren cluster moving the utilization cut from 0 to 20 % moves the idle share by 0.6 points only.
    utilization_off_ratio: float = 0.05
    utilization_on_ratio: float = 0.10
    compute_off_ratio: float = 0.02
    compute_on_ratio: float = 0.05
    power_quiet_factor: float = 1.25  # of the floor; 1.25 x 60 W gives the share of A100s at utilization 0
    power_active_factor: float = 1.7  # above the hump of 1.5 to 1.7 x floor: context present, clocks up

    # Holding
    memory_tolerance_bytes: int = 16 * 2**20
    base_memory_max_ratio: float = 0.06  # an idle Ascend 910A shows 3,101 of 65,536 MiB
    idle_power_max_ratio: float = 0.25  # of the power limit: T4 0.24, MI300X 0.20, A100 0.15, H100 0.11
    floor_clean_s: float = 600.0  # clean readings needed before a floor is learned

    # A host's CPUs
    host_busy_cores: float = 1.0
    host_busy_ratio: float = 0.05
    host_pressure_ratio: float = 0.01
    host_memory_ratio: float = 0.02

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 < value < float("inf"):
                raise ValueError(f"{name} = {value}, expected a number above 0")
        for lower, upper in (
            ("utilization_off_ratio", "utilization_on_ratio"),
            ("compute_off_ratio", "compute_on_ratio"),
            ("power_quiet_factor", "power_active_factor"),
            ("stale_s", "lost_s"),
        ):
            if not getattr(self, lower) < getattr(self, upper):
                raise ValueError(
                    f"{lower} = {getattr(self, lower)} must be below {upper} = {getattr(self, upper)}"
                )


if TYPE_CHECKING:

    class ModelSettings(msgspec.Struct):
        """What a type checker knows of the struct below: any further attribute is a threshold, or None."""

        model: str

        def __init__(self, **fields: Any) -> None: ...

else:
    ModelSettings = msgspec.defstruct(
        "ModelSettings",
        [("model", str, ""), *((name, kind | None, None) for name, kind in get_type_hints(Thresholds).items())],
        namespace={"__post_init__": lambda entry: _check_model(entry)},
        forbid_unknown_fields=True, frozen=True, kw_only=True, omit_defaults=True, module=__name__,
    )
    """`[[idle.models]]`: a model as its driver prints it, and the thresholds that are others for it."""


def _check_model(entry: ModelSettings) -> None:
    if not entry.model:
        raise ValueError("an entry of models needs a model, as the driver prints it: `fallow devices` shows it")
    if not overrides(entry):
        raise ValueError(f"the entry of models for {entry.model!r} sets no threshold")


class IdleSettings(Thresholds, forbid_unknown_fields=True, frozen=True, kw_only=True):
    evidence_s: float = 120.0  # agents keep this much in memory, so that a cut in the wire is none in the evidence

    # Leases and imported allocations
    reserve_ttl_s: float = 30.0  # of a reservation that does not say; at most 300 are granted
    release_stuck_s: float = 600.0  # in use for so long after its lease: work that nobody owns
    ledger_stale_s: float = 10.0  # an imported ledger older than this says nothing

    holders: list[HolderSettings] = []
    models: list[ModelSettings] = []

    def __post_init__(self) -> None:
        super().__post_init__()
        for model, times in Counter(entry.model for entry in self.models).items():
            if times > 1:
                raise ValueError(f"models: {model!r} stands there {times} times, expected once")
        for model, thresholds in [("", self), *self.by_model().items()]:
            if not thresholds.confirm_s < self.evidence_s:
                of_model = f" of {model!r}" if model else ""
                raise ValueError(
                    f"confirm_s = {thresholds.confirm_s}{of_model} must be below evidence_s = {self.evidence_s}"
                )

    def by_model(self) -> dict[str, Thresholds]:
        """What is in force for the models that have something of their own. Raises ValueError."""
        general = {name: getattr(self, name) for name in Thresholds.__struct_fields__}
        found = {}
        for entry in self.models:
            try:
                found[entry.model] = Thresholds(**general | overrides(entry))
            except ValueError as error:
                raise ValueError(f"models: {entry.model!r}: {error}") from error
        return found


def overrides(entry: ModelSettings) -> dict[str, float]:
    """The thresholds that an entry sets."""
    values = ((name, getattr(entry, name)) for name in Thresholds.__struct_fields__)
    return {name: value for name, value in values if value is not None}
