# shellcheck shell=bash disable=SC2034
# Shared by the tests of this folder. KUBECONFIG and PATH are those of the cluster; NODE_PID is the
# process whose network it is in, THROUGHLINE_BIN the program.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
NAMESPACE=throughline

step() { printf '\n--- %s (%s s)\n' "$*" "$SECONDS"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
# The headers of a client with an API key, for curl.
authorized=()
authorize() { authorized=(-H "authorization: Bearer $THROUGHLINE_API_KEY"); }
k() { kubectl --namespace "$NAMESPACE" "$@"; }

# Waits until everything of the namespace is as it should be; without a change for ten minutes something is wrong.
everything_ready() {
    local workload job
    for workload in $(k get deployments,statefulsets --output=name); do
        k rollout status "$workload" --timeout=600s
    done
    for job in $(k get jobs --output=name); do
        k wait --for=condition=Complete "$job" --timeout=600s
    done
    # What has finished is not counted as unready.
    k wait --for=condition=Ready pods --field-selector=status.phase=Running --all --timeout=300s >/dev/null
    k get pods --output=wide
}

# service NAME: the address of a Service, for clients in the network of the node.
service() {
    k get service "$1" --output='jsonpath={.spec.clusterIP}:{.spec.ports[0].port}'
}

# in_node COMMAND...: a client in the network of the node, so that its requests take the way of Services.
in_node() { nsenter --target "$NODE_PID" --net "$@"; }

# disrupt ACTIONS WORKLOAD...: see disruptions.py. From inside, the API server has another port than from outside.
disrupt() {
    local gateway features inside
    gateway=$(service gateway)
    features=$(service feature-store)
    inside=$(mktemp)
    sed 's|server: .*127\.0\.0\.1:[0-9]*|server: "https://127.0.0.1:6443|' "$KUBECONFIG" >"$inside"
    in_node env KUBECONFIG="$inside" python3 "$HERE/disruptions.py" "$gateway" "$features" "$NAMESPACE" "$@"
    rm -f "$inside"
}

# forward NAME PORT: prints the local address of a port-forward, which ends with this shell.
forward() {
    local log
    log=$(mktemp)
    k port-forward "service/$1" ":$2" >"$log" 2>&1 &
    FORWARDS+=" $!"
    for _ in $(seq 600); do
        FORWARDED=$(sed -n 's/Forwarding from \(127[^ ]*\).*/\1/p' "$log")
        if [[ -n $FORWARDED ]]; then return; fi
        sleep 0.1
    done
    die "no port-forward to $1: $(cat "$log")"
}
# check_passes SERVICE PORT FLAG: `throughline check` through port-forwards, with that service as the place to look.
check_passes() {
    local gateway
    forward gateway 8080
    gateway=$FORWARDED
    forward "$1" "$2"
    "$THROUGHLINE_BIN" check --gateway "http://$gateway" "--$3" "http://$FORWARDED"
    end_forwards
}
FORWARDS=
end_forwards() {
    # shellcheck disable=SC2086  # several ids
    [[ -z $FORWARDS ]] || kill $FORWARDS 2>/dev/null || true
    FORWARDS=
}

# pod_addresses NAME: the address of each pod of a part.
pod_addresses() {
    k get pods --selector "app.kubernetes.io/name=$1" --field-selector=status.phase=Running \
        --output='jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}'
}

# What one gateway stored, every other answers.
every_gateway_has_it() {
    local address answer cached=false header='cache-control: no-cache'
    for address in $(pod_addresses gateway); do
        answer=$(in_node curl -sf "http://$address:8080/v1/predictions" "${authorized[@]}" -H "$header" \
            -H 'content-type: application/json' -d '{"model":"wine_quality","data_ids":["wine-0042"]}')
        printf '%s %s\n' "$address" "$(jq -c '.predictions[0] | {cached, computed_at, computed_by}' <<<"$answer")"
        jq -e ".predictions[0].cached == $cached" <<<"$answer" >/dev/null ||
            die "the gateway at $address should have answered from the store"
        cached=true header='accept: application/json'
    done
}

# Trains another version; every gateway must serve it a few seconds later.
new_version() {
    local before address began
    before=$(newest "$(pod_addresses gateway | head -n 1)")
    # shellcheck disable=SC2016  # variables of jq
    k get job train-models --output=json | jq '{apiVersion, kind, metadata: {name: "train-again"}, spec: {template: .spec.template}}
        | del(.spec.template.metadata.labels["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"])
        | .spec.template.spec.containers[0].args = ["train", "wine_quality", "--seed=7"]' | k create --filename=-
    k wait --for=condition=Complete job/train-again --timeout=300s
    began=$SECONDS
    for address in $(pod_addresses gateway); do
        until [[ $(newest "$address") != "$before" ]]; do
            ((SECONDS < began + 60)) || die "the gateway at $address does not see the new version"
            sleep 0.5
        done
        printf '%s serves version %s, %s s after the training\n' "$address" "$(newest "$address")" $((SECONDS - began))
    done
    k delete job train-again
}

# The sample in a pod that no policy names: it fails, where the Job succeeded.
stranger_is_refused() {
    k get job sample --output=json | jq '{apiVersion: "v1", kind: "Pod", metadata: {name: "stranger"}, spec: .spec.template.spec}
        | .spec.restartPolicy = "Never"
        | .spec.containers[0].env |= map(if .name == "THROUGHLINE_SAMPLE_WAIT" then .value = "5s" else . end)' | k create --filename=-
    k wait --for='jsonpath={.status.phase}=Failed' pod/stranger --timeout=300s
    k logs stranger
    k delete pod stranger
}

# The version that a gateway answers with, by the address of its pod.
newest() {
    in_node curl -sf "http://$1:8080/v1/models" "${authorized[@]}" | jq -r '.models[] | select(.name == "wine_quality").variants[0].version'
}
