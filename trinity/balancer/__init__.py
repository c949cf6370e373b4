"""Which nodes the load balancer asks: their health, asked actively, written as the lists that nginx includes."""
