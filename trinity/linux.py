"""Numbers of Linux's interfaces that Python does not name, each with the manual page that does."""

IP_PKTINFO = 8  # ip(7): the address that a datagram was sent to, and the one that a reply leaves from
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent has ended
