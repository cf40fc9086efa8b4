"""How much is traced: the settings that are measured, each as the variables of a process."""

import os
from typing import NamedTuple


class Telemetry(NamedTuple):
    """A setting."""

    # In the table.
    traced: str
    variables: dict[str, str]

    def environment(self, *more: dict[str, str]) -> dict[str, str]:
        """The variables of a process: the caller's but for those of OpenTelemetry, `more`, and those of the setting."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        for variables in more:
            environment |= variables
        return environment | self.variables


OFF = Telemetry("off", {"OTEL_SDK_DISABLED": "true"})


def settings(telemetry: list[str], ratios: list[float], endpoint: str) -> list[Telemetry]:
    """What `--telemetry` and `--sampling` ask for. Without a ratio the sampler is the default one, which takes all."""
    to = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    found = []
    for word in telemetry:
        if word == "off":
            found.append(OFF)
            continue
        found += [_sampled(ratio, to) for ratio in ratios] or [Telemetry("100 %", to)]
    return found


def _sampled(ratio: float, to: dict[str, str]) -> Telemetry:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(ratio)}
    return Telemetry(f"{100 * ratio:g} %", {**to, **sampler})
