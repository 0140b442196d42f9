"""The Grafana dashboard is what its code makes, and every expression in it is one that Prometheus understands."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "swinunet.json"


def expressions() -> Iterator[tuple[str, str]]:
    """(panel, expression) of each line that is drawn."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def test_it_is_what_its_code_makes() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="grafana-foundation-sdk (extra: deploy-check) is missing")
    made = runpy.run_path(str(DEPLOY / "grafana" / "dashboard.py"))["build"]()
    assert made == DASHBOARD.read_text(), "run deploy/grafana/dashboard.py"


def test_every_recorded_series_that_it_shows_is_recorded() -> None:
    rules = (DEPLOY / "prometheus" / "rules" / "recording.yml").read_text()
    recorded = set(re.findall(r"- record: (\S+)", rules))
    shown = {name for _, expression in expressions() for name in re.findall(r"\w+:\w+:\w+", expression)}
    assert shown == recorded - {"model:triton_requests:rate5m"}, "a rule that nobody looks at, or one that is missing"


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (make debian)")
def test_promtool_understands_every_expression(tmp_path: Path) -> None:
    found = list(expressions())
    assert len(found) > 15
    rules = [{"record": f"panel:{number}:shown", "expr": expr} for number, (_, expr) in enumerate(found)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_panels_lie_over_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(columns, lines):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]
