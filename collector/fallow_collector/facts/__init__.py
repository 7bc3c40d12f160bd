"""The tables that rules of alerts look at, out of the live state.

Taken on the event loop, evaluated in a thread while the fleet goes on changing. That is safe because nothing that is
handed over changes: a Snapshot's arrays are never written to after it was made, and whatever else is looked at (values,
what is learned, nodes) is copied when the tables are taken. Only columns that some rule names are.
"""
