"""Ledgers of schedulers: whose devices are to hand out, and what is allocated, as the schedulers themselves say."""
