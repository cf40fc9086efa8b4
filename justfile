# Everyday recipes; `.ci/run` is the whole check, and nothing lives only there.

# Everything on this machine
up *args:
    cargo run --release -- {{ args }}

# What the README promises
test:
    cargo test --workspace

fmt:
    cargo fmt --all

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# The Python worker's own checks
python *args:
    .ci/python {{ args }}

# Clients that others wrote
clients *args:
    tests/clients/run {{ args }}

# The tables of the README
bench:
    cargo run --release -- bench

# docs/telemetry.md from telemetry/registry/
docs:
    UPDATE_DOCS=1 cargo test -p telemetry --test registry

ci:
    bash .ci/run
