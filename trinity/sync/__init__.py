"""The sync job: PostgreSQL -> Valkey, what reports ask for and other programs read.

    intervals.py  pure: stretches of time, which are held and which are wanted
    runs.py       pure: the ledger's packed rows, as COPY gives them, unpacked by numpy
    entries.py    pure: unpacked rows as the bytes of Valkey's commands, in bulk
    words.py      pure: the same for what is small: report calls, API keys, parameters
    wire.py       bulk bytes to Valkey's servers, their replies counted
    mark.py       what Valkey holds, told in Valkey itself
    source.py     PostgreSQL's side: what was committed since, and its rows
    job.py        one run: what is wanted, newest first, as far as there is room

Rules: Valkey is written after PostgreSQL's commit and can be rebuilt from it. Whatever is written is written again
without harm. The mark is moved behind the data, never ahead of it, and stands in Valkey: when that was emptied, there
is none, and everything is done again. One run at a time, by PostgreSQL's lock.
"""
