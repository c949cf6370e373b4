"""The demo's receiver of pushed prices and events: what a customer would run, so that a stranger sees them arrive."""
