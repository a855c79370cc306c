"""Run Transformers' own model tests on the stock classes and on ours, and print the counts beside each other.

    python tests/transformers_suite/compare.py [FAMILY ...] [--json FILE]

FAMILY is a folder of Transformers, `xlm_roberta` for example; all of the table of families by default.

Exits with 1 if a test that passes on the stock classes does not pass on ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from ofa_transformers.models.families_ofa import FAMILIES as TABLE


HERE = Path(__file__).parent
FAMILIES = {row.module: row for row in TABLE}
OUTCOMES = ("passed", "skipped", "failed")


class Recorder:
    """Keeps one outcome for each test; a failing subtest fails its test."""

    def __init__(self):
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        whole = type(report) is pytest.TestReport
        if report.failed:
            self.outcomes[name], self.reasons[name] = "failed", str(report.longrepr)
        elif report.skipped and whole:
            self.outcomes[name], self.reasons[name] = "skipped", str(report.longrepr[2])
        elif report.when == "call" and whole:
            self.outcomes.setdefault(name, "passed")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed or report.skipped:
            sys.exit(f"{report.nodeid} could not be collected: {report.longrepr}")


def record(family: str, output: Path) -> None:
    """Run the tests of one family in this process and write their outcomes to `output`."""
    recorder = Recorder()
    arguments = ["-q", "--no-header", "-p", "no:cacheprovider", "-r", "N", "--tb=short"]
    pytest.main([*arguments, str(HERE / "test_family.py")], plugins=[recorder])
    output.write_text(json.dumps({"outcomes": recorder.outcomes, "reasons": recorder.reasons}))


def outcomes(family: str, which: str) -> dict[str, dict[str, str]]:
    """The outcomes for the classes of `which`, run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "outcomes.json")
        command = [sys.executable, __file__, family, "--record", str(output)]
        environment = {**os.environ, "SUITE_CLASSES": which, "SUITE_FAMILY": family}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not output.is_file():
            sys.exit(f"the {which} run of {family} ended without a result:\n{done.stdout[-4000:]}")
        return json.loads(output.read_text())


def compare(families: list[str]) -> dict[str, dict]:
    """Run both kinds for every family, print the table and the tests that differ, and return all of it."""
    results = {}
    for family in families:
        results[family] = {which: outcomes(family, which) for which in ("stock", "ours")}
    print(f"{'':14}{'stock':^30}{'ours':^30}")
    print(f"{'family':14}" + 2 * "".join(f"{outcome:>10}" for outcome in OUTCOMES))
    for family, result in results.items():
        counts = [Counter(result[which]["outcomes"].values()) for which in ("stock", "ours")]
        print(f"{family:14}" + "".join(f"{count[outcome]:>10}" for count in counts for outcome in OUTCOMES))
    for family, result in results.items():
        stock, ours = (result[which]["outcomes"] for which in ("stock", "ours"))
        for name in sorted(stock.keys() | ours.keys()):
            if stock.get(name) != ours.get(name):
                print(f"{family}: {name}: stock {stock.get(name)}, ours {ours.get(name)}")
                print("    " + result["ours"]["reasons"].get(name, "").strip().rpartition("\n")[2][:300])
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="all by default")
    parser.add_argument("--json", type=Path, help="also write every outcome and reason to this file")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record(options.families[0], options.record)
        return 0
    if unknown := set(options.families) - FAMILIES.keys():
        parser.error(f"unknown family {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    results = compare(options.families or list(FAMILIES))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, sort_keys=True))
    worse = [
        name
        for result in results.values()
        for name, outcome in result["stock"]["outcomes"].items()
        if outcome == "passed" and result["ours"]["outcomes"].get(name) != "passed"
    ]
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
