"""One request datagram in, one reply datagram out. Pure, compiled; docs/protocol.md is the protocol, byte for byte.

The loop calls, once a worker:

    desk = make_desk(table_words, assets, exchanges)             tables and scratch memory
    networks = trusted_networks(config.udp_trusted_networks)     networks.py

and once a datagram, with the request in `request[start:end]` and UDP_REPLY_BYTES_MAX free bytes at `reply[at:]`:

    trusted = is_trusted(networks, addresses, address_at)        networks.py
    length, result, lookups = answer_datagram(desk, request, start, end, reply, at, trusted, now_ns)

`length` is 0 when nothing is to be sent, `result` the index in metrics.UDP_RESULTS, `lookups` the prices looked up.
A receive buffer should hold one byte more than UDP_REQUEST_BYTES_MAX, so that an oversized datagram is seen as such.

The first byte tells the protocol: `{` is JSON (datagram_json.py), 0xD7 a binary frame (datagram_frame.py), all else text.

Rules: nothing that a client sends raises. To a sender that is not trusted the reply is never longer than the request:
a longer one becomes the coded reply `pad_request`, and nothing if even that is too long. What looks like a reply (an
error object, an answer frame) is never answered, so that two nodes cannot be set to answering each other for ever.
"""
