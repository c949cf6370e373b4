"""trinity/linux.py, asked of the kernel itself."""

import signal
import socket
import subprocess
import sys

from trinity.linux import IP_PKTINFO, PR_SET_PDEATHSIG

_PR_GET_PDEATHSIG = 2  # prctl(2)


def test_a_datagram_tells_which_address_was_asked() -> None:
    """The option is taken, and the control message that comes with a datagram has its number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, socket.socket(type=socket.SOCK_DGRAM) as asking:
        asked.settimeout(5)
        asked.bind(("127.0.0.1", 0))
        asked.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        asking.sendto(b"x", asked.getsockname())
        _, control, _, _ = asked.recvmsg(8, 64)
    ((level, kind, data),) = control
    assert (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO)
    assert data[8:12] == socket.inet_aton("127.0.0.1")


def test_a_process_asks_for_a_signal_at_its_parents_end() -> None:
    """What was set is what the kernel then says; in a process of its own, for it stays set."""
    script = (
        "import ctypes\nlibc = ctypes.CDLL(None)\nnumber = ctypes.c_int()\n"
        f"libc.prctl({PR_SET_PDEATHSIG}, {int(signal.SIGTERM)}, 0, 0, 0)\n"
        f"libc.prctl({_PR_GET_PDEATHSIG}, ctypes.byref(number), 0, 0, 0)\nprint(number.value)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == signal.SIGTERM
