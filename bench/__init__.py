"""What measures speed and memory. It prints and asserts nothing."""
