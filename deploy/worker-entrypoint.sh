#!/bin/sh
# The entry point of the Python worker's image: sets the telemetry up by variables, as `throughline up` does.
#
#   worker-entrypoint.sh [OPTION...]          the service
#   worker-entrypoint.sh train OPTION...      a training
#   worker-entrypoint.sh healthcheck          whether the service of this container is ready
set -eu

module=throughline_worker
case ${1-} in
    healthcheck)
        shift
        exec python3 -m throughline_worker.healthcheck "$@"
        ;;
    train)
        shift
        module=throughline_worker.train
        : "${OTEL_SERVICE_NAME:=model-training}"
        # For the manifest.
        set -- "$@" ${THROUGHLINE_REVISION:+--source-commit "$THROUGHLINE_REVISION"}
        ;;
esac

# Variables of the container win; the resource is merged, and of two attributes with the same name the later one wins.
theirs=${OTEL_RESOURCE_ATTRIBUTES-}
while IFS='=' read -r name value; do
    case $name in
        '' | '#'*) continue ;;
        OTEL_RESOURCE_ATTRIBUTES) OTEL_RESOURCE_ATTRIBUTES=$value ;;
        *) eval ": \"\${$name:=\$value}\"" ;;
    esac
    export "${name?}"
done </opt/worker/instrumentation.env
OTEL_RESOURCE_ATTRIBUTES="$OTEL_RESOURCE_ATTRIBUTES${THROUGHLINE_REVISION:+,vcs.ref.head.revision=$THROUGHLINE_REVISION}${theirs:+,$theirs}"

exec opentelemetry-instrument python3 -m "$module" "$@"
