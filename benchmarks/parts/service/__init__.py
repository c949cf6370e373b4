"""Beside the answers: the ledger, reports, drop-ins, streams."""
