#!/bin/sh
# Puts connectors, rules and dashboards into a Kibana 9.5 or later. It can be run again: what exists is replaced.
# Written from the vendor's reference and tested against a stand-in that answers as documented, never against a Kibana; see
# docs/elastic.md.
#
#   KIBANA_URL=https://my.kb.example:443 KIBANA_API_KEY_FILE=~/.kibana-key deploy/elastic/apply.sh
#   deploy/elastic/apply.sh --dry-run      prints what it would send, sends nothing and needs no variable
#
# KIBANA_URL: with a path, such as https://my.kb.example/s/my-space, for another space than the default one
# KIBANA_API_KEY (encoded form) or KIBANA_API_KEY_FILE. The rules run later with this key's rights, so it must be able to read
#   traces-*, logs-* and metrics-* and to write throughline-alerts.
# KIBANA_WITHOUT_KEY=true: no key, for a Kibana with security off, such as that of deploy/compose.yaml
# KIBANA_CA_FILE: PEM file of the authority that signed Kibana's certificate, when the system does not know it
set -eu

fail() {
    echo "apply.sh: $*" >&2
    exit 1
}

dry_run=
case "$#:${1-}" in
    0:) ;;
    1:--dry-run) dry_run=yes ;;
    *) echo "usage: apply.sh [--dry-run]" >&2; exit 2 ;;
esac
for tool in curl jq; do
    command -v "$tool" >/dev/null || fail "$tool is needed"
done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

url=${KIBANA_URL-}
url=${url%/}
case $url in *@*) fail "KIBANA_URL must not hold credentials; use KIBANA_API_KEY" ;; esac
if [ -z "$dry_run" ]; then
    case $url in
        http://?* | https://?*) ;;
        '') fail "set KIBANA_URL" ;;
        *) fail "KIBANA_URL must start with http:// or https://" ;;
    esac
    key=${KIBANA_API_KEY-}
    if [ -z "$key" ] && [ -n "${KIBANA_API_KEY_FILE-}" ]; then
        [ -r "$KIBANA_API_KEY_FILE" ] || fail "cannot read the file that KIBANA_API_KEY_FILE names"
        key=$(cat "$KIBANA_API_KEY_FILE")
    fi
    [ -n "$key" ] || [ "${KIBANA_WITHOUT_KEY-}" = true ] || fail "set KIBANA_API_KEY or KIBANA_API_KEY_FILE"
    case $key in *[!A-Za-z0-9+/=_-]*) fail "the API key must be in its encoded form" ;; esac
fi

# send METHOD PATH FILE: the answer's status in $status, its body in $work/answer.
# The key reaches curl on standard input, because every user of the machine can see arguments.
send() {
    status=$(printf '%s' "${key:+header = \"Authorization: ApiKey $key\"}" |
        curl --config - --silent --show-error --max-time 60 --request "$1" ${KIBANA_CA_FILE:+--cacert "$KIBANA_CA_FILE"} \
            --header 'kbn-xsrf: true' --header 'Content-Type: application/json' --data-binary "@$3" \
            --output "$work/answer" --write-out '%{http_code}' "$url$2") || fail "no answer from $url"
}

# report METHOD PATH WHAT: prints what was done, or stops with Kibana's message.
report() {
    case $status in
        2??) echo "$3 ($1)" ; return ;;
        401 | 403) hint="; the API key is not accepted or lacks rights for this" ;;
        404) hint="; is this Kibana 9.5 or later, and does the space exist?" ;;
        *) hint= ;;
    esac
    reason=$(jq -r '(.message? // empty | tostring)[:500]' "$work/answer" 2>/dev/null) || reason=
    fail "$1 $2 answered $status${reason:+: $reason}$hint"
}

show() {
    echo "$1 $url$2"
    cat "$3"
    echo
}

# apply KIND PATH FIXED: creates each object of a folder, or updates it if it exists. FIXED are the fields that an update must
# not have.
apply() {
    for file in "$here/$1"/*.json; do
        name="$1/$(basename "$file" .json)"
        path="$2/$(jq -er .id "$file")" || fail "$file has no id"
        jq 'del(.id)' "$file" >"$work/create"
        jq "del(.id, $3)" "$file" >"$work/update"
        if [ -n "$dry_run" ]; then
            show POST "$path" "$work/create"
            echo "PUT $url$path if that answers 409, without $3"
            echo
            continue
        fi
        method=POST
        send POST "$path" "$work/create"
        if [ "$status" = 409 ]; then
            method=PUT
            send PUT "$path" "$work/update"
        fi
        report "$method" "$path" "$name"
    done
}

# Connectors first: the rules name them.
apply connectors /api/actions/connector .connector_type_id
apply rules /api/alerting/rule '.rule_type_id, .consumer, .enabled'

# With POST, Kibana would choose an id and make a new dashboard each time; PUT creates or replaces.
for file in "$here"/dashboards/*.json; do
    path="/api/dashboards/$(jq -er .id "$file")" || fail "$file has no id"
    jq 'del(.id)' "$file" >"$work/create"
    if [ -n "$dry_run" ]; then
        show PUT "$path" "$work/create"
    else
        send PUT "$path" "$work/create"
        report PUT "$path" "dashboards/$(basename "$file" .json)"
    fi
done
