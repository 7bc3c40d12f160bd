"""Changes, a line each."""

from rich.text import Text

from fallow_client.following import Cut, Event
from fallow_client.views.table import phase
from fallow_client.views.text import age, moment, plain
from fallow_proto.dispatch import Change, Watched

_MARK = {"added": "+", "modified": "~", "deleted": "-"}


def line(event: Event, listed: bool) -> Text | None:
    """What a person is told of an event; None: nothing. listed: the list is over, and this is news."""
    match event:
        case Cut():
            again = "; a new list follows" if event.lists_again else ""
            return Text(f"cut off: {plain(event.error)}; again in {event.retry_in_s:.1f} s{again}", style="red")
        case Change(kind="resync"):
            return Text("too much was missed; a new list follows", style="yellow")
        case Change(kind="bookmark"):
            return None if listed else _standing(event)
        case Change(device=Watched() as device):
            reasons = f" ({', '.join(plain(reason) for reason in device.reasons)})" if device.reasons else ""
            return (
                Text(f"{moment(event.as_of).rpartition(' ')[2]} {_MARK.get(event.kind, '?')} {plain(device.uuid)} "
                     f"{plain(device.node)} ")
                + phase(device.phase, device.confidence) + reasons
            )
        case _:
            return None


def _standing(bookmark: Change) -> Text:
    evidence = f", oldest evidence {age(bookmark.max_age_ms)} s" if bookmark.max_age_ms is not None else ""
    whole = "complete" if bookmark.complete else "INCOMPLETE"
    return Text(f"-- as of {plain(bookmark.as_of)}{evidence}, {whole}; what follows are changes", style="bold")
