# shellcheck shell=bash
# Every step starts with this: strict mode, the root of the checkout, and none of the caller's own settings of
# telemetry and of stacks: a test that needs one sets it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset "${!OTEL_@}" RUST_LOG RUST_BACKTRACE RUST_LIB_BACKTRACE 2>/dev/null || true
