"""The node's sockets: its listeners by name, how they are bound and guarded, and the ways out to the exchanges."""
