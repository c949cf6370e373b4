"""A whole cluster on this machine: the files of `deploy/`, filled in, and the programs that they are for."""
