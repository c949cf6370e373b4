"""Prices as signed datagrams: rendered, signed and sent by compiled code."""
