"""One thing that is measured a file, by the name that it has on the command line; each returns a result."""
