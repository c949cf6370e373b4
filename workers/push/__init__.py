<<<<<<< HEAD
"""The push server: prices to subscribers, over HTTPS and as datagrams."""
=======
"""The pusher: who is due, what is sent, and how it gets there."""
>>>>>>> pb
