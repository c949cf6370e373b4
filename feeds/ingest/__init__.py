"""From an exchange's sockets into the price table: connections, REST in reserve, rows and their freshness."""
