"""Backups of the database and of what a node holds itself, in a second place; and the way back to any second of them.

what an object is called     layout.py      names, WAL positions; pure
how its bytes stand          crypt.py       its name, gzip, age: a stream
where                        target.py      a directory; s3.py: an S3-compatible store
what is in a target          catalog.py     bases, log, bundles; which moments can be restored, and from what
what may go                  retention.py   pure
PostgreSQL's programs        tools.py       those of the embedded server, bound to the life of who starts them
a base backup                base.py        pg_basebackup -> target, without a file between; its manifest: manifest.py
the log                      wal.py         pg_receivewal -> scratch -> target, every few seconds
a node's own files           bundle.py      rings, spool, identity, snapshots, configuration
the way back                 restore.py     fetched, verified, recovered, promoted, stopped: never over what is there
the proof                    drill.py       restored in a throw-away place and compared with the live database
                                            (comparison.py); what came of it, when the next is due: drill_rows.py

Rules: a base counts once its `base.json` is in the target, which is written last; an object counts whole or not at all.
The node that backs up needs recipients only; the identity, which opens backups, is kept elsewhere.
"""
