"""The HTTPS client of the pusher: one POST in, one answer or one error out, whatever the receiver does.

pool.py     the only door: connections by host, bounds, who waits, what is used again
dial.py     name -> checked address -> TCP -> TLS, through a lane of pace.py
tls.py      TLS over memory, so that handshakes can be paced and sessions resumed; the bytes of a connection
http1.py    one POST at a time on a connection, answers parsed by llhttp
http2.py    many at a time, frames by h2
answer.py   what is kept of an answer, and its bounds
"""
