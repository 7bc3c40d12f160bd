from tests.simulators.nvml.fixtures import nvml, nvml_library

__all__ = ["nvml", "nvml_library"]
