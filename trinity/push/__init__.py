"""What is pushed: subscriptions, targets, signatures, events and orders, as the API, the command line and the pusher see them."""
