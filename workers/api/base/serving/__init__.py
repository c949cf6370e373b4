"""What stands around the handlers: the server's door, direct answers, packing, connections to the stores."""
