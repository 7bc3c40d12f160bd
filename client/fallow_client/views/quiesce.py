"""What became of a quiesce."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.text import plain, some
from fallow_proto.quiescing import Quiesced


def outcome(answer: Quiesced, *, resumed: bool) -> Iterator[RenderableType]:
    node = plain(answer.node)
    if resumed:
        yield Text(f"{node}: {'its readers are back' if answer.done else 'not all of its readers are back yet'}")
    else:
        yield Text(f"{node}: {'its readers have let go' if answer.done else 'not all of its readers have let go yet'}")
    for reader in answer.readers:
        why = f": {plain(reader.message)}" if reader.message else ""
        yield Text(f"  reader {plain(reader.name)} {plain(reader.state)}{why}")
    if answer.held:
        held = ", ".join(map(plain, answer.held))
        yield Text(f"  held, and not watched meanwhile: {some(len(answer.held), 'device')}: {held}")
