#!/usr/bin/env bash
# What profile-guided optimisation brings: the program of `--profile dist` without a profile and with one of the paths of
# bench/paths.py, measured by turns.
#
#   rustup component add llvm-tools && .ci/components/with wrk -- bash bench/pgo.sh
#
# Three long builds, in target/pgo. TURNS (3) and SECONDS_EACH (5) change the measurement; LLVM_PROFDATA is the program of
# llvm-tools, if it is not in the toolchain. https://doc.rust-lang.org/rustc/profile-guided-optimization.html
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc --print host-tuple)
profdata=${LLVM_PROFDATA:-$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata}
[[ -x $profdata ]] || { echo "there is no $profdata: run \`rustup component add llvm-tools\`" >&2; exit 1; }
folder=$PWD/target/pgo
rm -rf "$folder/raw" && mkdir -p "$folder/raw"

# built NAME FLAGS: the program in a folder of its own. With --target, RUSTFLAGS do not reach build scripts and macros.
built() {
    RUSTFLAGS=$2 cargo build --locked --quiet --profile dist -p throughline --target "$host" --target-dir "$folder/$1"
}
program() { printf '%s/%s/%s/dist/throughline' "$folder" "$1" "$host"; }
measured() { python3 bench/paths.py --program "$(program "$1")" --seconds "${SECONDS_EACH:-5}"; }

built plain ''
built instrumented "-Cprofile-generate=$folder/raw"
measured instrumented
"$profdata" merge --output "$folder/merged.profdata" "$folder/raw"
built profiled "-Cprofile-use=$folder/merged.profdata"

for ((turn = 1; turn <= ${TURNS:-3}; turn++)); do
    for name in plain profiled; do
        printf '\n%s, turn %s\n\n' "$name" "$turn"
        measured "$name"
    done
done
printf '\n| | MB |\n|---|--:|\n'
for name in plain profiled; do
    printf '| %s | %s |\n' "$name" "$(stat --format %s "$(program "$name")" | awk '{ printf "%.1f", $1 / 1e6 }')"
done
