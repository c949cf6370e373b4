"""The operator's acts on customers: accounts, keys, plans, blocks, bills, and what is pushed to them."""
