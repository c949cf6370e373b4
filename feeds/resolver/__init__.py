"""Assets that no catalog names: found while somebody waits, kept while somebody asks. docs/cluster.md has the path."""
