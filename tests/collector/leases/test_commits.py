"""Group commits of leases: whoever waits for the disk hears what became of it, whatever went wrong."""

import asyncio
from pathlib import Path

import pytest

from fallow_collector.leases.commits import Commits
from fallow_collector.leases.file import LeaseFile, Standing
from fallow_collector.leases.rows import LeaseRow
from fallow_collector.state.file import StateError

ROW = LeaseRow("lease-1", "c", "h", 1, "leased", 60, 1.0, 1.0, 1.0, "[]", 0, "", "", "")


def test_a_mistake_in_what_is_to_be_kept_is_told_to_whoever_waits_and_the_next_group_is_kept(tmp_path: Path) -> None:
    mistakes = [ZeroDivisionError("a mistake")]

    def standing() -> Standing:
        if mistakes:
            raise mistakes.pop()
        return Standing(1, 1.0)

    async def kept() -> None:
        commits = Commits(LeaseFile(tmp_path), standing)
        async with asyncio.timeout(60):
            with pytest.raises(StateError, match="a mistake"):
                await commits.keep([ROW])
            await commits.keep([ROW])
            await commits.close()

    asyncio.run(kept())
    file = LeaseFile(tmp_path)
    assert file.load() == ([ROW], Standing(1, 1.0))
    file.close()
