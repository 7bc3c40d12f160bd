"""Share of cycles in which a device's multiprocessors ran something: GPM, "GPU performance monitoring", from Hopper on.

One device after the other: several at once have crashed in the library (leptonai/gpud asks them in turn for that
reason). GPM takes no hold of the profiler, so others may profile meanwhile (NVIDIA/DCGM issue 62).

Every call may raise pynvml.NVMLError; nvml_device.py judges its code.
"""

import contextlib
import time
from typing import Any

import pynvml as nvml

from fallow_agent.readers.nvml_fields import Handle, Told, check
from fallow_agent.readers.nvml_values import UNSUPPORTED, known

SHORTEST_S = 0.9
"""Between two samples: a second, less what a tick may come early. nvml.h asks for more than 0.1."""
LONGEST_S = 15.0
"""An average over more says nothing of now; the slowest tick is every 10 s."""

Sample = Any  # pynvml's c_nvmlGpmSample_t


def is_early(age_s: float) -> bool:
    """Whether the sample before is too young for another; what was known last is then said again."""
    return age_s < SHORTEST_S


def is_comparable(age_s: float) -> bool:
    """Whether the sample before is young enough to compare with; if not, the new one is a new beginning."""
    return age_s <= LONGEST_S


class GpmActivity:
    """compute_active_ratio of a board or of one GPU instance, between the last two samples, which are kept here."""

    def __init__(self, board: Handle, gpu_instance: int | None = None) -> None:
        self._board = board
        self._gpu_instance = gpu_instance
        self._question = nvml.c_nvmlGpmMetricsGet_t(version=nvml.NVML_GPM_METRICS_GET_VERSION, numMetrics=1)
        self._samples: list[Sample] = []
        self._taken_at: float | None = None  # CLOCK_MONOTONIC, of the first of them; None: there is none
        self._last = Told({})
        self._was_compared = False

    def ask(self, _handle: Handle) -> Told:
        """Nothing yet at the first time and after a gap. Never waits: two calls, one of them none to the device.

        Raises NVMLError, NOT_SUPPORTED where the board has no GPM.
        """
        self._allocate()
        before, now = self._taken_at, time.monotonic()
        if before is not None and is_early(now - before):
            return self._last
        self.forget()
        self._take(self._samples[1])
        if before is not None and is_comparable(now - before):
            self._last = self._told()
        self._samples.reverse()
        self._taken_at = now
        return self._last

    def forget(self) -> None:
        """Compare nothing with what was before: the device failed, and may have been reset."""
        self._taken_at = None
        self._last = Told({})

    def close(self) -> None:
        """Free the samples; before nvmlShutdown."""
        while self._samples:
            with contextlib.suppress(nvml.NVMLError):  # of a driver that is gone nothing is held
                nvml.nvmlGpmSampleFree(self._samples.pop())

    def _allocate(self) -> None:
        if not self._samples and not nvml.nvmlGpmQueryDeviceSupport(self._board).isSupportedDevice:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        while len(self._samples) < 2:
            self._samples.append(nvml.nvmlGpmSampleAlloc())

    def _take(self, sample: Sample) -> None:
        if self._gpu_instance is None:
            nvml.nvmlGpmSampleGet(self._board, sample)
        else:
            nvml.nvmlGpmMigSampleGet(self._board, self._gpu_instance, sample)

    def _told(self) -> Told:
        """Nothing from a driver that takes samples and has never compared any: to take the call back would have the
        reader open again, which is to find the same."""
        try:
            told = self._compared()
        except nvml.NVMLError as error:
            if self._was_compared or error.value not in UNSUPPORTED:
                raise
            return Told({})
        self._was_compared = True
        return told

    def _compared(self) -> Told:
        self._question.sample1, self._question.sample2 = self._samples
        metric = self._question.metrics[0]
        metric.metricId = nvml.NVML_GPM_METRIC_SM_UTIL
        nvml.nvmlGpmMetricsGet(self._question)
        check(metric.nvmlReturn)
        return Told(known("compute_active_ratio", metric.value, 0.01))
