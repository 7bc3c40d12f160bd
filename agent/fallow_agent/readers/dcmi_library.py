"""Huawei's management library for Ascend, libdcmi.so: found, and its calls as Python's, with errors as exceptions.

Prototypes, structures and return codes are those of dcmi_interface_api.h, which Huawei publishes under Apache-2.0
(github.com/Ascend/mind-cluster, component/ascend-common/devmanager/dcmi; the codes: hiascend.com, "DCMI API", return
codes). This is the first generation of the interface, of cards and chips; that of Ascend 950 (dcmiv2_…) is another one.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_char, c_int, c_uint, c_ulong, c_ulonglong
from typing import NamedTuple

FOLDERS = ("/usr/local/dcmi", "/usr/local/Ascend/driver/lib64/driver")
"""Where Huawei's driver puts it, when neither LD_LIBRARY_PATH nor the loader's cache has it."""

LIBRARY = "libdcmi.so"
NOT_SUPPORTED = -8255
FUNCTION_NOT_FOUND = -99998
"""Not of DCMI itself: what Huawei's own caller says of a library that is older than the function."""

MAX_CARDS = 64
MAX_ERROR_CODES = 128
MAX_PROCESSES = 32
"""What the library may write, as its manual has it."""
_SPARE_PROCESSES = 8 * MAX_PROCESSES  # it is not told how much room there is, so there is more than it should need
_VDIE = 1  # enum dcmi_die_type: of the two dies' ids, the one that is the chip's


class DcmiError(Exception):
    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} answers {code}")
        self.code = code


class ChipInfo(ctypes.Structure):
    _fields_ = [
        ("chip_type", c_char * 32), ("chip_name", c_char * 32), ("chip_ver", c_char * 32), ("aicore_cnt", c_uint),
        ("npu_name", c_char * 32),
    ]


class PcieInfo(ctypes.Structure):
    _fields_ = [
        ("venderid", c_uint), ("subvenderid", c_uint), ("deviceid", c_uint), ("subdeviceid", c_uint),
        ("domain", c_int), ("bus", c_uint), ("device", c_uint), ("function", c_uint), ("reserve", c_char * 32),
    ]


class HbmInfo(ctypes.Structure):
    """Sizes in MiB, degrees Celsius, percent."""

    _fields_ = [
        ("size", c_ulonglong), ("freq", c_uint), ("usage", c_ulonglong), ("temperature", c_int),
        ("bandwidth_percent", c_uint),
    ]


class MemoryInfo(ctypes.Structure):
    """Sizes in MiB."""

    _fields_ = [
        ("size", c_ulonglong), ("available", c_ulonglong), ("freq", c_uint), ("hugepagesize", c_ulong),
        ("hugepages_total", c_ulong), ("hugepages_free", c_ulong), ("utilization", c_uint), ("reserve", c_char * 60),
    ]


class ProcessMemory(ctypes.Structure):
    _fields_ = [("pid", c_int), ("memory_bytes", c_ulong)]


class ELabel(ctypes.Structure):
    _fields_ = [
        ("product_name", c_char * 256), ("model", c_char * 256), ("manufacturer", c_char * 256),
        ("manufacturer_date", c_char * 256), ("serial_number", c_char * 256),
    ]


class Chip(NamedTuple):
    """How the library addresses one chip."""

    card: int
    chip: int


class Dcmi:
    """The loaded library. Every method but the first may raise DcmiError."""

    def __init__(self) -> None:
        """Raises OSError when there is none that can be loaded."""
        self._library = _load()

    def init(self) -> None:
        self._call("dcmi_init")

    def driver_version(self) -> str:
        text = ctypes.create_string_buffer(64)
        self._call("dcmi_get_driver_version", text, c_uint(len(text)))
        return text_of(text.value)

    def chips(self) -> Iterator[Chip]:
        """All chips of all cards, in the library's order; of a card that does not tell how many it has, the first."""
        count, cards = c_int(0), (c_int * MAX_CARDS)()
        self._call("dcmi_get_card_list", ctypes.byref(count), cards, c_int(MAX_CARDS))
        for card in cards[: max(count.value, 0)]:
            chips, mcu, cpu = c_int(0), c_int(0), c_int(0)
            try:
                self._call("dcmi_get_device_id_in_card", c_int(card), *map(ctypes.byref, (chips, mcu, cpu)))
            except DcmiError:  # one bad card does not hide the others
                chips.value = 1
            yield from (Chip(card, chip) for chip in range(chips.value))

    def logic_id(self, at: Chip) -> int:
        """The number that Huawei's tools and frameworks count devices by."""
        number = c_int(0)
        self._call("dcmi_get_device_logic_id", ctypes.byref(number), c_int(at.card), c_int(at.chip))
        return number.value

    def physical_id(self, logic_id: int) -> int:
        """N of the device file /dev/davinciN."""
        number = c_uint(0)
        self._call("dcmi_get_device_phyid_from_logicid", c_uint(logic_id), ctypes.byref(number))
        return number.value

    def name(self, at: Chip) -> str:
        info = ChipInfo()
        self._of(at, "dcmi_get_device_chip_info_v2", ctypes.byref(info))
        return text_of(info.chip_name)

    def die_id(self, at: Chip) -> tuple[int, ...]:
        words = (c_uint * 5)()
        self._of(at, "dcmi_get_device_die_v2", c_int(_VDIE), words)
        return tuple(words)

    def pci_address(self, at: Chip) -> str:
        info = PcieInfo()
        self._of(at, "dcmi_get_device_pcie_info_v2", ctypes.byref(info))
        return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.{info.function:x}"

    def serial(self, at: Chip) -> str:
        """Of the card that the chip is on."""
        label = ELabel()
        self._call("dcmi_get_card_elabel_v2", c_int(at.card), ctypes.byref(label))
        return text_of(label.serial_number)

    def utilization_percent(self, at: Chip, kind: int) -> int:
        percent = c_uint(0)
        self._of(at, "dcmi_get_device_utilization_rate", c_int(kind), ctypes.byref(percent))
        return percent.value

    def hbm(self, at: Chip) -> HbmInfo:
        info = HbmInfo()
        self._of(at, "dcmi_get_device_hbm_info", ctypes.byref(info))
        return info

    def memory(self, at: Chip) -> MemoryInfo:
        info = MemoryInfo()
        self._of(at, "dcmi_get_device_memory_info_v3", ctypes.byref(info))
        return info

    def power_deciwatts(self, at: Chip) -> int:
        power = c_int(0)
        self._of(at, "dcmi_get_device_power_info", ctypes.byref(power))
        return power.value

    def temperature_celsius(self, at: Chip) -> int:
        temperature = c_int(0)
        self._of(at, "dcmi_get_device_temperature", ctypes.byref(temperature))
        return temperature.value

    def processes(self, at: Chip) -> list[tuple[int, int]]:
        """Process id on the host, and the bytes that it holds on the chip."""
        infos, count = (ProcessMemory * _SPARE_PROCESSES)(), c_int(0)
        self._of(at, "dcmi_get_device_resource_info", infos, ctypes.byref(count))
        if not 0 <= count.value <= _SPARE_PROCESSES:
            raise DcmiError(f"dcmi_get_device_resource_info tells of {count.value} processes, and", 0)
        return [(info.pid, info.memory_bytes) for info in infos[: count.value]]

    def health(self, at: Chip) -> int:
        """0 normal, 1 minor alarm, 2 major alarm, 3 critical alarm, 0xFFFFFFFF: there is no such device."""
        health = c_uint(0)
        self._of(at, "dcmi_get_device_health", ctypes.byref(health))
        return health.value

    def error_codes(self, at: Chip) -> list[int]:
        """Of the faults that last now."""
        count, codes = c_int(0), (c_uint * MAX_ERROR_CODES)()
        self._of(at, "dcmi_get_device_errorcode_v2", ctypes.byref(count), codes, c_uint(MAX_ERROR_CODES))
        return [code for code in codes[: max(0, min(count.value, MAX_ERROR_CODES))] if code]

    def _of(self, at: Chip, function: str, *arguments: object) -> None:
        self._call(function, c_int(at.card), c_int(at.chip), *arguments)

    def _call(self, function: str, *arguments: object) -> None:
        try:
            call = getattr(self._library, function)
        except AttributeError:
            raise DcmiError(function, FUNCTION_NOT_FOUND) from None
        code: int = call(*arguments)
        if code != 0:
            raise DcmiError(function, code)


def text_of(raw: bytes) -> str:
    """What a driver prints, on one line and without what is no text."""
    return "".join(letter for letter in raw.decode("utf-8", errors="replace") if letter.isprintable()).strip()


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        for folder in FOLDERS:
            try:
                return ctypes.CDLL(f"{folder}/{LIBRARY}")
            except OSError as another:
                # A library that is there and does not load says more than one that is not there.
                error = error if "No such file" in str(another) else another
        raise error
