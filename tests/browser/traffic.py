"""Requests of a client to the gateway, whose traces the pages show."""

from dataclasses import dataclass

from harness import http
from harness.system import System
from harness.traces import Explorer

MODEL = "wine_quality"
REVIEWED = "text_sentiment"
REVIEW = "Great sound, and it broke after a week."
ROOT = "POST /v1/predictions"
INFER = "POST /v2/models/{model_name}/infer"


@dataclass(frozen=True)
class Traffic:
    """Ids of complete traces, by what happened in them."""

    miss: str
    hit: str
    canary: str
    text: str
    failed: str


class Client:
    """Sends requests, each in a trace of its own."""

    def __init__(self, system: System) -> None:
        self._gateway = system.gateway
        self._explorer = Explorer(system.explorer)

    def predict(
        self, body: object, *, baggage: str = "", cache_control: str = "", expected: int = 200, last: str = "gateway"
    ) -> str:
        """Send a request for predictions, wait until its trace is complete with `last` in it, and return its id."""
        given = {"baggage": baggage, "cache-control": cache_control}
        headers = {name: value for name, value in given.items() if value}
        answer = http.post(f"{self._gateway}/v1/predictions", body, headers)
        assert answer.status == expected, answer.body
        trace_id = answer.headers["traceresponse"].split("-")[1]
        self._explorer.wait(trace_id, last, ROOT if last == "gateway" else INFER)
        return trace_id

    def wine(self, number: int, *, baggage: str = "", cache_control: str = "", last: str = "gateway") -> str:
        """Ask for one wine."""
        body = {"model": MODEL, "data_ids": [f"wine-{number:04}"]}
        return self.predict(body, baggage=baggage, cache_control=cache_control, last=last)


def send(system: System) -> Traffic:
    """Make a miss, a hit, one in Python, a text and a failure; more of the first, for the pages that count."""
    client = Client(system)
    for number in range(101, 131):
        client.wine(number, baggage="ml.variant=canary" if number % 3 == 0 else "ml.variant=primary")
    return Traffic(
        miss=client.wine(77, baggage="ml.variant=primary", cache_control="no-cache", last="model-service"),
        hit=client.wine(77, baggage="ml.variant=primary"),
        canary=client.wine(77, baggage="ml.variant=canary", cache_control="no-cache", last="model-service-python"),
        text=client.predict({"model": REVIEWED, "texts": [REVIEW]}, last="model-service"),
        failed=client.predict(
            {"model": MODEL, "data_ids": ["wine-0078"]},
            baggage="ml.variant=primary,fault=model-service:error",
            cache_control="no-cache",
            expected=502,
            last="model-service",
        ),
    )
