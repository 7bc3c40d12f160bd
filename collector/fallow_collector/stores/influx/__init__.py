"""Stores that speak the InfluxDB 2 write API: InfluxDB 2 and 3, VictoriaMetrics single or cluster.

settings    the keys of [store.influx]
lines       rows -> line protocol, in blocks
bodies      blocks -> request bodies of a size that servers take, and their halves
writer      one body -> one answer, through influxdb-client
bounded     of an answer no more than is needed
search      which lines of a refused body are at fault
refused     the file where those end
server      what the server says that it is, and since when it runs
token       the API token's file
settle      which commits count by now, and which were lost
ledger      the committed ranges, on disk
promql      history out of VictoriaMetrics
flux        history out of InfluxDB 2
table       their common shape
store       all of it behind stores.store.Store

Nothing is imported here: the settings are needed by every collector, the rest costs 18 MiB.

A VictoriaMetrics cluster: `url` is vminsert's http://…:8480/insert/0/influx, or a vmauth that routes both /api/v2/write
there and /api/v1/ to vmselect; only the latter can answer history. The death of one vmstorage does not show through
either, so a cluster should run with -replicationFactor=2.
"""
