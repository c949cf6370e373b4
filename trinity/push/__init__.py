"""What is pushed, as the API, the command line and the pusher see it: subscriptions, targets, events, orders."""
