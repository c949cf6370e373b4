"""Every byte that processes share: one file a structure, each the only one that knows its layout."""
