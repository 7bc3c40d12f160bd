from tests.simulators.dcmi.fixtures import dcmi, dcmi_library
from tests.simulators.nvml.fixtures import nvml, nvml_library

__all__ = ["dcmi", "dcmi_library", "nvml", "nvml_library"]
