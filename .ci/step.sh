# shellcheck shell=bash
# Every step starts with this: strict mode, the root of the checkout, and none of the caller's own telemetry settings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset "${!OTEL_@}" RUST_LOG 2>/dev/null || true
