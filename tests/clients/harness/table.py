"""The table of docs/clients.md, from the results of the tests: written with UPDATE_DOCS=1, compared without.

`python -m harness.table DOCUMENT RESULTS`.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.results import Result

BEGIN = "<!-- table: written by `UPDATE_DOCS=1 tests/clients/run` -->\n"
END = "<!-- end of table -->\n"
HEAD = "| client | version | against | calls tried | result |\n|---|---|---|---|---|\n"


def read(folder: Path) -> list[Result]:
    """Read the results of all sessions."""
    return [Result(**entry) for path in sorted(folder.glob("*.json")) for entry in json.loads(path.read_text())]


def render(results: Iterable[Result]) -> str:
    """Render the table: a row for each client and version, and for all that it did the same things to."""
    tried: dict[tuple[str, str, str], dict[str, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
    for result in results:
        tried[result.client, result.version, result.against][result.call].add((result.outcome, result.reason))
    rows: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for (client, version, against), calls in tried.items():
        rows[client, version, "; ".join(calls), _verdict(calls)].append(against)
    lines = [
        f"| {client} | {version} | {'; '.join(sorted(against))} | {calls} | {verdict} |\n"
        for (client, version, calls, verdict), against in sorted(rows.items())
    ]
    return HEAD + "".join(lines)


def _verdict(calls: dict[str, set[tuple[str, str]]]) -> str:
    """Return how many calls worked, and why the others did not."""
    good = [call for call, outcomes in calls.items() if all(outcome == "passed" for outcome, _ in outcomes)]
    words = [f"{len(good)} of {len(calls)} pass"]
    for call in sorted(set(calls) - set(good)):
        others = sorted(outcome for outcome in calls[call] if outcome[0] != "passed")
        words.append(
            f"{call}: " + ", ".join(f"{outcome} ({reason})" if reason else outcome for outcome, reason in others)
        )
    return "; ".join(words)


def main(arguments: Sequence[str]) -> int:
    """Write the table into the document, or fail if the document has another."""
    document, folder = (Path(argument) for argument in arguments)
    text = document.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n{render(read(folder))}\n{END}{after}"
    if wanted == text:
        return 0
    if os.environ.get("UPDATE_DOCS") == "1":
        document.write_text(wanted)
        return 0
    sys.stderr.write(
        f"The tests found another table than that of {document}; UPDATE_DOCS=1 tests/clients/run writes it:\n"
    )
    sys.stderr.write(f"\n{render(read(folder))}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
