"""Restarts and deletes every part of a running system under load; counts what clients noticed.

    disruptions.py GATEWAY FEATURE_STORE NAMESPACE ACTIONS WORKLOAD...

GATEWAY and FEATURE_STORE are addresses (host:port) of their Services. ACTIONS are restart, delete
and crash, separated by commas. A WORKLOAD is `deployment/NAME` or `statefulset/NAME`; with `=down`
behind it, requests may fail while it restarts, since nothing takes its place meanwhile.

The exit status is 0 if no acknowledged write was lost and no rollout of another workload failed a
request. After a deletion failed requests are counted and printed only: a client whose connection
ends with the pod has no answer.
"""

from __future__ import annotations

import subprocess
import sys
import time

from traffic import Client, Traffic, lost_features, lost_predictions

# Each row stands for at least as many requests, also if the rollout is over sooner.
LEAST_REQUESTS = 1_000


def kubectl(*arguments: str) -> str:
    """Runs kubectl in the namespace and returns its output."""
    command = ["kubectl", "--namespace", namespace, *arguments]
    # Its errors go where ours go: to whoever reads why this ended.
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def pods(workload: str) -> list[str]:
    """The pods of a workload, those on their way out included."""
    name = workload.partition("/")[2]
    return kubectl(
        "get", "pods", f"--selector=app.kubernetes.io/name={name}", "--output=name"
    ).splitlines()


def restart(workload: str) -> None:
    """Replaces every pod of a workload, as its strategy says, until the old ones have gone."""
    old = {uid(pod) for pod in pods(workload)}
    kubectl("rollout", "restart", workload)
    kubectl("rollout", "status", workload, "--timeout=900s")
    while any(uid(pod) in old for pod in pods(workload)):
        time.sleep(0.2)


def uid(pod: str) -> str:
    """Which pod it is, for those of a StatefulSet keep their names. Empty if it has gone."""
    return kubectl("get", pod, "--ignore-not-found", "--output=jsonpath={.metadata.uid}")


def delete(workload: str) -> None:
    """Deletes one pod of a workload and waits until the workload is whole again."""
    kubectl("delete", pods(workload)[0], "--wait=true")
    kubectl("rollout", "status", workload, "--timeout=900s")


def crash(workload: str) -> None:
    """Deletes one pod without time to end, and waits until the workload is whole again."""
    kubectl("delete", pods(workload)[0], "--force", "--grace-period=0")
    kubectl("rollout", "status", workload, "--timeout=900s")


ACTIONS = {"restart": restart, "delete": delete, "crash": crash}


def wait_for_answers(gateway: str) -> None:
    """Returns when predictions are computed again: a disruption is not blamed for the last one."""
    deadline = time.monotonic() + 300
    body = {"model": "wine_quality", "data_ids": ["wine-0001"]}
    for _ in range(5):
        while True:
            try:
                Client(gateway).call("POST", "/v1/predictions", body, cache_control="no-cache")
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def main(gateway: str, feature_store: str, actions: list[str], workloads: list[str]) -> int:
    """Disrupts everything in turn; returns the exit status."""
    broken = False
    lost: list[str] = []
    print(
        f"{'disruption':<44}{'s':>7}{'requests':>10}{'failed':>8}{'stored':>8}{'pushed':>8}{'lost':>6}"
    )
    for action in (ACTIONS[name] for name in actions):
        for entry in workloads:
            workload, _, down = entry.partition("=")
            wait_for_answers(gateway)
            begun = time.monotonic()
            with Traffic(gateway, feature_store) as traffic:
                record = traffic.record
                action(workload)
                took = time.monotonic() - begun
                while record.requests < LEAST_REQUESTS:
                    time.sleep(0.1)
            wait_for_answers(gateway)
            lost_now = lost_predictions(gateway, record) + lost_features(feature_store, record)
            lost += lost_now
            print(
                f"{action.__name__ + ' ' + workload:<44}{took:>7.1f}{record.requests:>10}"
                f"{record.failed():>8}{len(record.predictions):>8}{len(record.features):>8}{len(lost_now):>6}",
                flush=True,
            )
            for error, times in record.failures.most_common(4):
                print(f"    {times} x {error}", flush=True)
            broken |= action is restart and not down and record.failed() > 0
    for line in lost[:20]:
        print(f"lost: {line}")
    if broken:
        print("a rollout failed requests, although its workload has pods that stay")
    return 1 if lost or broken else 0


if __name__ == "__main__":
    namespace = sys.argv[3]
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[4].split(","), sys.argv[5:]))
