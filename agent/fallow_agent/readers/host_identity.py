"""Who a host's CPUs are: pure parsing of what the kernel prints."""

import hashlib
import hmac
from collections.abc import Mapping

# cpuid's vendor strings (x86), and implementer codes of MIDR_EL1 (Arm), as Linux' arch/arm64/include/asm/cputype.h
# lists them.
_X86_VENDORS = {
    "GenuineIntel": "intel",
    "AuthenticAMD": "amd",
    "HygonGenuine": "hygon",
    "CentaurHauls": "zhaoxin",
    "Shanghai": "zhaoxin",
}
_ARM_VENDORS = {
    0x41: "arm",
    0x42: "broadcom",
    0x43: "cavium",
    0x46: "fujitsu",
    0x48: "hisilicon",
    0x4E: "nvidia",
    0x50: "apm",
    0x51: "qualcomm",
    0x61: "apple",
    0x6D: "microsoft",
    0x70: "phytium",
    0xC0: "ampere",
}
_MODEL_KEYS = ("model name", "cpu model", "cpu", "uarch")  # x86 and LoongArch; MIPS; POWER; RISC-V


def uuid_of(machine_id: str, node: str) -> str:
    """A name for this host's CPUs that lasts: of its machine id, else of the node's name.

    machine-id(5) asks that the id itself never leaves the machine, and names this HMAC as what to use in its place.
    """
    key = machine_id.strip()
    if key in ("", "uninitialized"):  # as images and containers have it
        key = f"node {node}"
    return "cpu-" + hmac.new(key.encode(), b"fallow", hashlib.sha256).hexdigest()[:32]


def vendor_and_model(cpuinfo: str) -> tuple[str, str]:
    """Of /proc/cpuinfo; what it does not say is "unknown". Arm prints no model: the part's number stands for it."""
    facts = _first_cpu(cpuinfo)
    model = next((facts[key] for key in _MODEL_KEYS if facts.get(key)), "")
    if implementer := facts.get("cpu implementer", ""):
        vendor = _ARM_VENDORS.get(int(implementer, 16), f"arm-{implementer}")
        return vendor, model or f"CPU part {facts.get('cpu part', 'unknown')}"
    named = facts.get("vendor_id", "")
    vendor = _X86_VENDORS.get(named, named.lower())
    if not vendor:
        first = model.partition(" ")[0].lower()
        vendor = "loongson" if first.startswith("loongson") else "ibm" if first.startswith("power") else "unknown"
    return vendor, model or "unknown"


def _first_cpu(cpuinfo: str) -> Mapping[str, str]:
    """Keys in lower case; LoongArch and POWER print some of them outside the paragraph of a CPU."""
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip().lower(), value.strip())
    return facts
