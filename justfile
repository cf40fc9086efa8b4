# Everyday recipes. `just ci` is the whole check; every other check here is a step of it, in .ci/steps.

# Everything on this machine
up *args:
    cargo run --release -- {{ args }}

# All tests that need no server
test *args:
    .ci/steps/test {{ args }}

fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# Formatting, clippy, documentation; warnings are errors
lint:
    .ci/steps/format
    .ci/steps/clippy
    .ci/steps/documentation

# Unused dependencies, licences, banned crates, sources, security advisories
deny:
    .ci/steps/dependencies
    .ci/steps/supply-chain

# The Python worker: ruff, mypy, pytest
python *args:
    .ci/steps/python {{ args }}

# The Collector's configurations, read by the real programs
collector:
    .ci/steps/collector-configurations

# hadolint, yamllint and shellcheck
lint-deploy:
    .ci/steps/lint-deploy

# The container images, and archives of them in target/images
images:
    .ci/steps/images

# The manifests: generated file, schemas, kube-score
manifests:
    .ci/steps/manifests

# The manifests on a real Kubernetes of one node (root, cgroup v1), with the images of `just images`
kubernetes:
    .ci/steps/kubernetes

# The compose file with those images: every profile, or some of them
compose *args:
    .ci/steps/compose {{ args }}

# Tests against Elasticsearch, Collector, Jaeger and Redis
components *args:
    .ci/steps/real-components {{ args }}

# Clients that others wrote
clients *args:
    .ci/steps/clients {{ args }}

# The explorer's pages in Chromium
browser *args:
    .ci/steps/browser {{ args }}

# All fuzz targets for half a minute each, or one target for some seconds
fuzz *args:
    .ci/steps/fuzz {{ args }}

# README, docs, tutorial and recipes, run word for word; or some pages
documents *pages:
    .ci/steps/documents {{ pages }}

# The tables of the benchmarks
bench:
    cargo run --release -- bench

# docs/telemetry.md from telemetry/registry/
docs:
    UPDATE_DOCS=1 cargo test -p telemetry --test registry

# The whole check
ci:
    bash .ci/run
