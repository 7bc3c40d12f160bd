"""The processes on devices, as agents tell them, and which of them belong to nobody who holds their device."""
