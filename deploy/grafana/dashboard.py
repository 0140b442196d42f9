"""The Grafana dashboard, as code: `python deploy/grafana/dashboard.py` writes dashboards/swinunet.json beside it.

Needs grafana-foundation-sdk (pip install 'swinunet[deploy-check]'). What is shown is recorded by the rules in
deploy/prometheus/rules; a test asks every expression of a live Prometheus.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
)

OUTPUT = Path(__file__).parent / "dashboards" / "swinunet.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")

# title, unit, what it shows, and (expression, legend) of each line
Panel = tuple[str, str, str, list[tuple[str, str]]]
ROWS: list[tuple[str, list[Panel]]] = [
    (
        "Triton",
        [
            ("Slices", "cps", "Slices segmented a second.", [("model:triton_slices:rate5m", "{{model}}")]),
            (
                "Time of a request",
                "s",
                "From its arrival at Triton to its answer, and the part of it spent waiting.",
                [
                    ("model:triton_request_seconds:mean5m", "{{model}} in all"),
                    ("model:triton_queue_seconds:mean5m", "{{model}} waiting"),
                ],
            ),
            (
                "Requests that wait",
                "short",
                "Triton counts a wait only after it has answered, so this shows a stalled server first.",
                [("model:triton_pending_requests:sum", "{{model}}")],
            ),
            (
                "Requests that fail",
                "percentunit",
                "Of all requests in five minutes.",
                [("model:triton_failed_requests:ratio5m", "{{model}}")],
            ),
            (
                "Canary",
                "s",
                "How long the known input takes; nothing is drawn while the answer is wrong.",
                [("swinunet_canary_seconds and swinunet_canary_ok == 1", "{{model}} {{instance}}")],
            ),
            ("GPU memory", "percentunit", "Used, of each GPU.", [("instance:triton_gpu_memory:ratio", "{{gpu_uuid}}")]),
        ],
    ),
    (
        "Gateway",
        [
            ("Jobs", "short", "By state.", [("sum by (state) (swinunet_gateway_jobs)", "{{state}}")]),
            (
                "Longest wait",
                "s",
                "How long the job that is due longest waits.",
                [("max(swinunet_gateway_oldest_waiting_seconds)", "waiting")],
            ),
            (
                "Time of a study",
                "s",
                "Mean of an hour, by stage.",
                [("stage:gateway_seconds:mean1h", "{{stage}}")],
            ),
            (
                "Deliveries",
                "short",
                "By destination and state.",
                [("sum by (destination, state) (swinunet_gateway_deliveries)", "{{destination}} {{state}}")],
            ),
            ("Free disk", "percentunit", "Of the spool.", [("instance:gateway_disk_free:ratio", "{{instance}}")]),
            (
                "Refused studies",
                "short",
                "By verdict.",
                [("sum by (verdict) (swinunet_gateway_refused_jobs)", "{{verdict}}")],
            ),
        ],
    ),
]
# title, unit, expression, and from which value on it is red
STATS: list[tuple[str, str, str, float]] = [
    ("Alerts", "short", 'count(ALERTS{alertstate="firing"}) or vector(0)', 1),
    ("Wrong canaries", "short", "count(swinunet_canary_ok == 0) or vector(0)", 1),
    ("Failed jobs", "short", 'sum(swinunet_gateway_jobs{state="failed"}) or vector(0)', 1),
    ("Since the last image", "s", "time() - max(swinunet_gateway_last_instance_timestamp_seconds > 0)", 86400),
]
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 7


def build() -> str:
    """The dashboard as JSON."""
    made = (
        dashboard.Dashboard("Swin-UNet segmentation")
        .uid("swinunet")
        .tags(["swinunet"])
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    for at, (title, unit, expression, red_from) in enumerate(STATS):
        steps = [Threshold(value=None, color="green"), Threshold(value=red_from, color="red")]
        made.with_panel(
            stat.Panel()
            .title(title)
            .unit(unit)
            .datasource(SOURCE)
            .grid_pos(GridPos(h=4, w=24 // len(STATS), x=at * 24 // len(STATS), y=0))
            .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
            .with_target(_query(expression, "").instant())
        )
    top = 4
    for title, panels in ROWS:
        made.with_row(dashboard.Row(title).grid_pos(GridPos(h=1, w=24, x=0, y=top)))
        for at, panel in enumerate(panels):
            place = GridPos(h=_HEIGHT, w=_WIDTH, x=at % _COLUMNS * _WIDTH, y=top + 1 + at // _COLUMNS * _HEIGHT)
            made.with_panel(_time_series(panel).grid_pos(place))
        top += 1 + -(-len(panels) // _COLUMNS) * _HEIGHT
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _time_series(panel: Panel) -> timeseries.Panel:
    title, unit, about, lines = panel
    made = timeseries.Panel().title(title).unit(unit).description(about).datasource(SOURCE).min(0)
    for expression, legend in lines:
        made.with_target(_query(expression, legend))
    return made


def _query(expression: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend)


if __name__ == "__main__":
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(build())
