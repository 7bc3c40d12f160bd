"""The tables that rules look at, and their columns. `python -m fallow_collector.alerts.document` prints them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from fallow_collector.health.words import Action, Severity
from fallow_collector.idle.reasons import REASONS
from fallow_proto.metrics import METRICS
from fallow_proto.states import Allocation, Confidence, DeviceClass, Freshness, Health, Occupancy, Phase, Service


class Type(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    TRUTH = "true or false"


class Column(NamedTuple):
    """words: all that a text can be; empty: anything."""

    name: str
    type: Type
    means: str
    words: tuple[str, ...] = ()

    @property
    def lasts(self) -> bool:
        """Whether it is seconds; no other name ends so."""
        return self.name.endswith("_s")


class Table(NamedTuple):
    """labels: the columns of type text that say which row it is; they are labels of its alerts."""

    labels: tuple[str, ...]
    columns: Mapping[str, Column]
    means: str


def _table(means: str, labels: tuple[str, ...], *columns: Column) -> Table:
    return Table(labels, {column.name: column for column in columns}, means)


def _number(name: str, means: str) -> Column:
    return Column(name, Type.NUMBER, means)


def _text(name: str, means: str, words: Iterable[str] = ()) -> Column:
    return Column(name, Type.TEXT, means, tuple(map(str, words)))


def _truth(name: str, means: str) -> Column:
    return Column(name, Type.TRUTH, means)


_DEVICE_STATES: Mapping[str, type[StrEnum]] = {
    "phase": Phase, "freshness": Freshness, "health": Health, "occupancy": Occupancy, "allocation": Allocation,
    "service": Service, "confidence": Confidence,
}

TABLES: Mapping[str, Table] = {
    "device": _table(
        "every device, accelerators and hosts; of one that is cut into partitions, the whole beside these",
        ("uuid", "node", "site", "vendor", "model", "class"),
        *(_text(name, means) for name, means in (
            ("uuid", "its id"), ("node", "the host that it is in"), ("site", "the centre of its node"),
            ("vendor", "lower case"), ("model", "as its driver prints it"),
        )),
        _text("class", "what it computes with", DeviceClass),
        *(_text(name, f"the device's {name}", words) for name, words in _DEVICE_STATES.items()),
        _text("ledger", "the name of the ledger that it belongs to"),
        _truth("partitioned", "whether its partitions count instead of it"),
        _number("age_s", "seconds since its newest reading was taken"),
        _number("phase_s", "seconds for which it has been in its phase"),
        _truth("ecc_enabled", "whether its memory corrects errors; null: not known, or it has none"),
        _truth("learned", "whether its floor of power was learned, and is no prior"),
        _truth("leased_idle", "leased, and nothing done for reclaim_idle_s"),
        *(_truth(f"reason_{reason.name}", reason.means) for reason in REASONS),
        *(_number(metric.name, metric.help) for metric in METRICS),
    ),
    "node": _table(
        "every node, seen or declared", ("node", "site"),
        _text("node", "the host's name"), _text("site", "its centre"),
        _truth("seen", "whether its agent ever said Hello"),
        _truth("connected", "whether its agent is connected now"),
        _number("age_s", "seconds since its newest reading was taken; null: none since the collector started"),
        _number("clock_skew_s", "its clock against the collector's, the quickest transit included; ahead is above 0"),
        _text("agent_version", "of Fallow; null: not known"),
        _truth("version_differs", "whether its agent is of another version than this collector"),
        _number("spool_pending", "reports that its agent held when it last said Hello"),
        _number("spool_dropped", "reports that its agent had to drop since it started"),
        _number("spool_dropped_age_s", "seconds since that number grew; null: it is 0, or not known"),
        _truth("maintenance", "whether all of its devices are in maintenance"),
        _number("unacknowledged_s", "age of its oldest report that came and is not in the store"),
        _number("devices", "of its last Hello"),
        _number("certificate_remaining_ratio", "what is left of the life of the certificate that it showed, 0 to 1"),
        _number("certificate_expires_in_s", "the same in seconds"),
    ),
    "reader": _table(
        "every vendor's reader of every node", ("node", "site", "reader"),
        _text("node", "the host's name"), _text("site", "its centre"), _text("reader", "its name"),
        _text("state", "as the agent says"), _text("message", "what the agent says of it"),
        _number("state_s", "seconds for which it has been in it"),
    ),
    "incident": _table(
        "every open incident and every condition that holds, of rules that are enforced",
        ("node", "site", "uuid", "incident_rule"),
        _text("node", "the host"), _text("site", "its centre"), _text("uuid", "the device; empty: the node"),
        _text("incident_rule", "the rule of health, such as `xid 79`"),
        _text("health_severity", "how bad it is", Severity), _text("action", "what is suggested", Action),
        _text("why", "what it means"), _text("evidence", "what was read or told"),
        _number("count", "how often"), _number("open_s", "seconds since it began"),
    ),
    "group": _table(
        "every group of capacity: devices of one site, class, model and partition",
        ("site", "class", "vendor", "model", "partition_profile"),
        _text("site", "the centre"), _text("class", "what they compute with", DeviceClass),
        _text("vendor", "lower case"),
        _text("model", "as the driver prints it"), _text("partition_profile", "empty: whole devices"),
        *(_number(name, f"devices: `{name}` of /api/v1/capacity") for name in (
            "declared", "undeclared", "seen", "absent", "idle", "idle_low_confidence", "verifying", "reserved",
            "leased", "releasing", "unmanaged", "unavailable", "reclaimable",
        )),
        _number("idle_highest_5m", "the most that were idle at once in the last 5 minutes; null before these are over"),
        _number("ineffective_ratio", "share of the devices that do no effective work"),
    ),
    "ledger": _table(
        "every imported ledger", ("ledger", "node", "site"),
        _text("ledger", "its name"), _text("node", "the host; empty: the whole ledger"), _text("site", "the centre"),
        _number("age_s", "seconds since its allocations were imported"),
        _truth("stale", "whether that is longer than ledger_stale_s"),
    ),
    "collector": _table(
        "this collector: one row", ("site",),
        _text("site", "its centre"), _text("version", "of Fallow"),
        _number("up_s", "seconds since it started"),
        _truth("complete", "whether the view of the fleet is complete"),
        _truth("store_commits", "whether the store takes what it is given"),
        _truth("state_commits", "whether the state file does"),
        _number("unacknowledged_s", "age of the oldest report that came and is not in the store"),
        _number("store_full_in_s", "seconds until the store is full or drops its oldest rows for want of room, as it "
                                   "grew in the last hour; null: not soon, or not known"),
        _number("events_dropped", "own events that were dropped, because the state took none"),
        _number("certificate_remaining_ratio", "what is left of its certificate's life, 0 to 1; null: it has none"),
        _number("certificate_expires_in_s", "the same in seconds"),
        _number("receivers_failing", "receivers of alerts whose newest attempt failed"),
        _number("rules_failing", "rules that could not be evaluated"),
        _number("dead_letters", "notifications given up in the last day"),
    ),
}
