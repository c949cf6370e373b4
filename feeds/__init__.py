"""From the exchanges' frames to one price an asset. `feeds` imports `trinity`, never `workers`."""
