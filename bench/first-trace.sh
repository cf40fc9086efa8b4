#!/usr/bin/env bash
# How long a newcomer waits: a fresh clone, the clean build, the first printed traces, and the second start.
#
#   bash bench/first-trace.sh
#
# Dependencies are downloaded beforehand, so that the figure is the build and not the network.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone --quiet "$source" "$folder/throughline"
cd "$folder/throughline"
cargo fetch --locked --quiet
ports=(--gateway-port 0 --model-service-port 0 --feature-store-port 0 --explorer-port 0 --otlp-port 0)

start=$(date +%s.%N)
cargo build --release --locked --quiet
built=$(date +%s.%N)
cargo run --release --locked --quiet -- up --once "${ports[@]}" </dev/null >first.txt
first=$(date +%s.%N)
cargo run --release --locked --quiet -- up --once "${ports[@]}" </dev/null >second.txt
second=$(date +%s.%N)

seconds() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f s", b - a }'; }
printf '| %s | %s |\n|---|--:|\n' "what ($(nproc) cores)" "time"
printf '| %s | %s |\n' \
    'clean build' "$(seconds "$start" "$built")" \
    'first start: training, loading, both traces printed, stopped' "$(seconds "$built" "$first")" \
    'second start: both traces printed, stopped' "$(seconds "$first" "$second")" \
    'fresh clone to both printed traces' "$(seconds "$start" "$first")"
