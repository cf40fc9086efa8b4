# shellcheck shell=bash disable=SC2034
# Shared by the commands of this folder: versions, places, and the node's process.

# Change a version only after running `get` with an empty cache: the proxy does not serve every tagged version.
KUBERNETES_VERSION=1.34.3     # its staging modules are 0.34.3
COREDNS_VERSION=1.14.0        # the release that uses the same client-go
METRICS_SERVER_VERSION=0.8.0
KUBE_ROUTER_VERSION=2.1.0     # only its NetworkPolicy part
KUBE_SCORE_VERSION=1.20.0

NODE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$NODE_DIR/../lib.sh"

# Two clusters run side by side if these three differ.
: "${NODE_NAME:=throughline}"                          # also the name of its cgroups
: "${NODE_PORT:=36443}"                                # the API server, on 127.0.0.1
: "${NODE_STATE:=${TMPDIR:-/tmp}/$NODE_NAME-node}"     # short, since it holds sockets; not on overlayfs

# What is built depends on this alone.
node_key() {
    local sources
    sources=$(cat "$NODE_DIR"/programs/*/*.go | sha256sum | cut -c 1-12)
    printf 'kubernetes-%s-%s\n' "$KUBERNETES_VERSION" "$sources-$(uname -m)"
}
NODE_HOME=$CACHE/$(node_key)
NODE_BIN=$NODE_HOME/bin

# Prints the id of the node's first process; fails if it does not run.
node_pid() {
    local pid
    pid=$(cat "$NODE_STATE/pid" 2>/dev/null) || return
    grep -qE '/kubernetes/node( inside)? $' <<<"$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" && printf '%s\n' "$pid"
}
export NODE_NAME NODE_PORT NODE_STATE NODE_HOME NODE_BIN
