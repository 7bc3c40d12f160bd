"""Alerts: rules over the live state, their alerts, and the notifications that follow.

    tables ──► evaluate ──► step ──► plan ──► alerts.sqlite ──► outbox ──► receivers
    (facts)    (rules)      (pure)   (pure)   (one transaction)            (each for itself)
"""
