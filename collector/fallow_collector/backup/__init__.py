"""All that a collector remembers as one file, taken while it runs, and put back."""
