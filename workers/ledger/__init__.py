"""The flusher: rings of usage and of deliveries -> spool on disk -> PostgreSQL, each record exactly once.

ring -> spool segment       drain.py          every turn, before the ring is released
bytes of a segment          disk/block.py     checksummed blocks of records
segments, sums of a folder  disk/spool.py     one file is one transaction; the bound; files: disk/unit.py
to the platter              disk/syncer.py    a thread of its own, because a disk may be late
sums while the disk is full disk/reserve.py   a preallocated file
a kind of records           kind.py           what the way to the database is told of it: layouts, adding up, tables
sums and their bytes        sums.py           of any kind; their COPY's bytes: rows.py
segment -> database         ledger.py         rows, sums and position of any kind in one transaction
the database's ups, downs   loader.py         a thread of its own
days' partitions            days.py           before the transaction that needs them
usage                       usage/            exact sums, single requests packed, refusals; numpy, no Python a record
deliveries                  delivery_tables.py  a row each; and DELIVERY, the kind itself
one kind's way              route.py          drain, loader and sync together, and the metrics
the process                 process.py        the loop over the kinds
"""
