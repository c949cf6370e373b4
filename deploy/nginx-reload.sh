#!/bin/sh
# Beside nginx in its container: reads the lists of nodes again when `trinity balancer watch`, in another container,
# has written them. Arguments: the folder of the lists. Starts nginx and ends with it.
set -eu
lists=$1
nginx -g 'daemon off;' &
nginx=$!
trap 'kill -QUIT $nginx; wait $nginx' TERM INT
read_before=$(cat "$lists"/*.conf)
while kill -0 $nginx 2>/dev/null; do
    sleep 1 & wait $! || true
    now=$(cat "$lists"/*.conf)
    if [ "$now" != "$read_before" ]; then
        read_before=$now
        nginx -t -q && nginx -s reload || echo "the lists of nodes were not taken: nginx goes on with the former ones" >&2
    fi
done
wait $nginx
