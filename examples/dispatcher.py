"""A dispatcher in ten lines: one idle device for a command, for as long as it runs.

    FALLOW_URL=http://127.0.0.1:4918 python examples/dispatcher.py python train.py

The command finds the device's uuid in CUDA_VISIBLE_DEVICES; a dispatcher of several nodes starts it on
lease.devices[0].node. Exit status: 0 done, 1 failed, 3 nothing is idle.
"""

import os
import subprocess
import sys

from fallow_client import Client, NoCapacity, Request

try:
    with (
        Client(os.environ["FALLOW_URL"], os.environ.get("FALLOW_TOKEN", "")) as fallow,
        fallow.lease(Request(count=1, vendor=["nvidia"]), holder="example", ttl_s=30) as lease,
    ):
        devices = {"CUDA_VISIBLE_DEVICES": ",".join(device.uuid for device in lease.devices)}
        with subprocess.Popen(sys.argv[1:], env=os.environ | devices) as work:
            while work.poll() is None:
                if lease.lost.wait(0.2):
                    work.kill()  # the device may be somebody else's by now
        if work.returncode:
            raise subprocess.CalledProcessError(work.returncode, sys.argv[1:])  # the lease is released as failed
except NoCapacity as none:
    sys.stderr.write(f"{none}\n")
    sys.exit(3)
