"""The exchanges' side of a measurement: senders, their frames and faults, and the clients that they feed."""
