# shellcheck shell=bash disable=SC2034
# Shared by the commands of this folder: versions, the cache, free ports, waiting, and processes that can be found again.
#
# Everything comes from package registries through their ordinary clients, whichever mirror those are set to.

# Change a version only after running its recipe with empty caches: the registries do not serve every tagged version.
ELASTICSEARCH_VERSION=9.5.2
ELASTICSEARCH_SHA256=de3d9c88b5f993d9b1f937a1da8d7bfa3e881f83bf3a0dab3e49a8d557934618
COLLECTOR_VERSION=0.157.0
JAEGER_VERSION=1.62.0
# As `throughline text-setup` has them; a test compares them (throughline/src/python/encoder.rs).
ENCODER_VERSION=0.1.0
ENCODER_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
COLLECTOR_DIR=$REPOSITORY/deploy/collector
# Outside the checkout, so that the next clean checkout on this machine finds it.
CACHE=${THROUGHLINE_COMPONENTS:-$HOME/.cache/throughline-components}

# Only results go to stdout: callers read paths and addresses from there.
say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# need COMMAND PACKAGE: installs a Debian package when a command is absent.
need() {
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || die "$1 is not installed, and there is no apt-get to install $2 with"
    say "installing $2, for $1"
    apt_install "$2" || die "could not install $2, for $1"
}

apt_install() {
    # A new machine has no package lists yet.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 && return
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# A port that nothing listens on, below the range from which the kernel takes ports for outgoing connections. Another process
# may take it first, so a server that does not start is tried again with another port.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s\n' "$port"; return; }
    done
}

# The start time of a process. Ids are reused; id and start time together identify a process.
born() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field is the program's name in parentheses and may hold anything, so fields are counted after it.
    read -ra fields <<<"${stat##*) }"
    printf '%s\n' "${fields[19]}"
}

# launch NAME DIR COMMAND...: a server in a process group of its own, its output in DIR/NAME.log, its id in DIR/NAME.pid.
launch() {
    local name=$1 dir=$2
    shift 2
    setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null &
    printf '%s %s\n' $! "$(born $!)" >"$dir/$name.pid"
    # Until it leads its group, it cannot be found by the group.
    until group_lives $!; do kill -0 $! 2>/dev/null || return 0; done
}

# Whether any process of the group lives; zombies do not count.
group_lives() {
    local stat
    for stat in /proc/[0-9]*/stat; do
        stat=$(cat "$stat" 2>/dev/null) || continue
        read -ra fields <<<"${stat##*) }"
        # With the 0: in the handler of a signal, a bare `return` has the status from before the signal.
        [[ ${fields[2]} == "$1" && ${fields[0]} != Z ]] && return 0
    done
    return 1
}

# Whether the server that DIR/NAME.pid names is still that server.
lives() {
    local pid began
    read -r pid began 2>/dev/null <"$2/$1.pid" || return 1
    [[ $(born "$pid") == "$began" ]] && group_lives "$pid"
}

# wait_until SECONDS NAME DIR COMMAND...: until the command succeeds; fails at once when the server has died.
wait_until() {
    local deadline=$((SECONDS + $1)) name=$2 dir=$3
    shift 3
    until "$@" >/dev/null 2>&1; do
        lives "$name" "$dir" || return 1
        ((SECONDS < deadline)) || { say "$name was not ready in time"; return 1; }
        sleep 0.1
    done
}

# stop_server NAME DIR: ends its process group, after 20 s by force, and returns when it is gone.
stop_server() {
    local name=$1 dir=$2 pid began deadline
    if lives "$name" "$dir"; then
        read -r pid _ <"$dir/$name.pid"
        deadline=$((SECONDS + 20))
        # A server that a test froze must continue to end cleanly.
        kill -TERM -- "-$pid" && kill -CONT -- "-$pid"
        while group_lives "$pid"; do
            ((SECONDS < deadline)) || kill -KILL -- "-$pid"
            sleep 0.1
        done
    fi
    rm -f "$dir/$name.pid"
    # Its guard would notice a second later.
    if read -r pid began 2>/dev/null <"$dir/$name.guard" && [[ $(born "$pid") == "$began" ]]; then kill -TERM -- "-$pid"; fi
    rm -f "$dir/$name.guard"
}
