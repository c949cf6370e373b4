"""Subscriptions to prices that are delivered: made and changed by their customers, and by the operator."""
