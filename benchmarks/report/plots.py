"""The plots, each as PNG and as SVG: load levels, the peers side by side, and the soak over time.

Rules: drawn from the results document alone, so that an old one can be drawn again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.figure import Figure

_FORMATS = ("png", "svg")
_COLOURS = {"http": "tab:blue", "udp": "tab:orange"}


def draw_all(folder: Path, measured: Mapping[str, Any]) -> list[Path]:
    """Draw what these results hold; returns the files."""
    files: list[Path] = []
    if "levels" in measured:
        files += _save(folder, "levels", _levels(measured["levels"]))
    for name in ("http", "udp"):
        if name in measured:
            files += _save(folder, f"side_by_side_{name}", _contest(name, measured[name]["contestants"]))
    if "soak" in measured:
        files += _save(folder, "soak", _soak(measured["soak"]["samples"]))
    return files


def _levels(levels: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    rates, latencies = figure.subplots(1, 2)
    for protocol, rows in levels.items():
        x = [row["level"] for row in rows]
        colour = _COLOURS[protocol]
        rates.plot(x, [row["per_second"] for row in rows], marker="o", color=colour, label=protocol.upper())
        for name, style in (("p50", "-"), ("p99", "--")):
            y = [row["latency_us"][name] for row in rows]
            latencies.plot(x, y, marker=".", linestyle=style, color=colour, label=f"{protocol.upper()} {name}")
    rates.set(
        title="Throughput of one worker", xlabel="requests in flight", ylabel="answers/s", xscale="log", ylim=(0, None)
    )
    latencies.set(title="Latency, closed loop", xlabel="requests in flight", ylabel="us", xscale="log", yscale="log")
    for axes in (rates, latencies):
        axes.set_xscale("log", base=2)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    return figure


def _contest(name: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots()
    shown = rows[::-1]
    bars = axes.barh([row["name"] for row in shown], [row["cpu_us"] for row in shown], color=_COLOURS[name])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(title=f"{name.upper()}: processor time a request", xlabel="us")
    return figure


def _soak(samples: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    latencies, memory = figure.subplots(1, 2)
    seconds = [0.0]
    for sample in samples:
        seconds.append(seconds[-1] + sample["seconds"])
    for name in ("p50", "p99"):
        latencies.plot(seconds[1:], [sample["latency_us"][name] for sample in samples], label=name)
    latencies.set(title="Latency over time", xlabel="s", ylabel="us", yscale="log")
    latencies.legend()
    memory.plot(seconds[1:], [sample["pss_mib"] for sample in samples])
    memory.set(title="Memory of the whole node", xlabel="s", ylabel="PSS MiB", ylim=(0, None))
    return figure


def _save(folder: Path, name: str, figure: Figure) -> list[Path]:
    files = [folder / f"{name}.{kind}" for kind in _FORMATS]
    for file in files:
        figure.savefig(file, dpi=120)
    return files
