"""Executes a command as a unit's sandbox would: without capabilities, new privileges, or memory that it may both write
and execute. What systemd does beyond that needs systemd.
"""

import ctypes
import os
import sys

# linux/prctl.h
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
CAPABILITIES = 41


def main() -> None:
    for capability in range(CAPABILITIES):
        prctl(PR_CAPBSET_DROP, capability)  # refused to those who have none
    assert prctl(PR_SET_NO_NEW_PRIVS, 1) == 0
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)  # Linux 6.3 and later
    os.umask(0o077)
    os.execv(sys.argv[1], sys.argv[1:])


def prctl(option: int, value: int) -> int:
    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))


if __name__ == "__main__":
    main()
