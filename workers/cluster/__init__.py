"""The cluster process: what this node tells the others, and what they decide together, all of it through Valkey."""
