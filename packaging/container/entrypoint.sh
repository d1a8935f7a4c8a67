#!/bin/sh
# Runs `ringfort up` with these arguments in a container, and starts it again when it was killed: its workers go on meanwhile. Not as process 1, which is
# init's place (docker run --init). SIGTERM stops the instance in order. Its name is in RINGFORT_INSTANCE, "default" if that is not set.
instance="${RINGFORT_INSTANCE:-default}"
stopping=
started=
# One that has hardly begun is not found by `down`, and hears of it itself.
trap 'stopping=1; ringfort down --instance "$instance" || kill "$!" 2>/dev/null' TERM INT
while [ -z "$stopping" ]; do
    ringfort up --instance "$instance" "$@" &
    wait $!
    code=$?
    [ -n "$stopping" ] && break
    # It was stopped in order, by `ringfort down` for instance; or it was refused, and nobody plays yet.
    [ "$code" -eq 0 ] && exit 0
    [ "$code" -le 2 ] && [ -z "$started" ] && exit "$code"
    started=1
    sleep 0.2
done
wait
