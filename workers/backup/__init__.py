"""The node's backups: the database's, by one node of all that share it, and every node's own files."""
