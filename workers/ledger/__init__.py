"""The flusher: rings of usage and of deliveries -> spool on disk -> PostgreSQL, each record exactly once.

ring -> spool segment       drain.py     every turn, before the ring is released
bytes of a segment          block.py     checksummed blocks of records
segments, sums of a folder  spool.py     one file is one transaction; the bound; files: unit.py
a kind of records           kind.py      what the way to the database is told of it: layouts, how to add up, its tables
sums and their bytes        sums.py      of any kind
records -> exact sums       usage_sums.py  the usage kind: numpy, no Python a record
sums while the disk is full reserve.py   a preallocated file
records -> COPY's bytes     runs.py      single requests, packed; numpy, no Python a record
sums -> COPY's bytes        rows.py      the same
changes of usage's tables   usage_tables.py  rows, sums, refusals (refusals.py); and USAGE, the kind itself
deliveries' rows            delivery_tables.py  one each; and DELIVERY, the kind itself
segment -> database         ledger.py    rows, sums and position of any kind in one transaction
the database's ups, downs   loader.py    a thread of its own
one kind's way             route.py     drain, loader and sync together, and the metrics
the process                 process.py   the loop over the kinds
"""
