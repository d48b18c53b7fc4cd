#!/usr/bin/env bash
# Prints the live containers and each change, forever: whalewatcher.sh [SOCKET]
# Needs curl and jq.
socket=${1:-/run/whalewatcher.sock}
last=
while :; do
    data=
    while IFS= read -r line; do
        case $line in
            'id: '*) id=${line#id: } ;;
            'data: '*) data=${line#data: } ;;
            '')
                [ -n "$data" ] || continue
                # A snapshot replaces what is known; see docs/json.md for the other events.
                jq -r 'if .event == "snapshot" then .containers[] | "alive \(.name)"
                    elif .container then "\(.event) \(.container.name)" else empty end' <<< "$data"
                last=$id data=
                ;;
        esac
    done < <(curl --silent --fail --no-buffer --unix-socket "$socket" --speed-limit 1 --speed-time 60 \
        ${last:+--header "Last-Event-ID: $last"} http://localhost/v1/events)
    sleep 1
done
