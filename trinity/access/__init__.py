"""Who may ask, as the operator sees it: accounts, plans, keys and blocked networks in PostgreSQL."""
