"""What the operator changes over HTTP: keys, plans, accounts, blocks; and who changed what."""
