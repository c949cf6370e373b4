"""Limits that hold over all nodes: rates whose requests are reserved before they are given, and months that add up."""
