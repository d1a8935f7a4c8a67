#!/bin/sh
# Runs `ringfort up` with these arguments in a container, and starts it again when it was killed: its workers go on meanwhile. Not as process 1, which is
# init's place (docker run --init). SIGTERM stops the instance in order.
stopping=
trap 'stopping=1; ringfort down' TERM INT
while [ -z "$stopping" ]; do
    ringfort up "$@" &
    # 0: it was stopped in order, by `ringfort down` for instance.
    wait $! && exit 0
    [ -n "$stopping" ] || sleep 0.2
done
wait
