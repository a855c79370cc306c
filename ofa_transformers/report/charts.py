"""The report's charts as SVG, in colours that the page's style sheet sets."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape


_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 12, 12, 50


class _Plot:
    """Axes with ticks, and what is drawn between them."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], x_label: str, y_label: str) -> None:
        self.x_range, self.y_range = x_range, y_range
        self.parts: list[str] = []
        middle = (_TOP + _HEIGHT - _BOTTOM) / 2
        for value in ticks(*x_range):
            x = self.x(value)
            self.parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" class="middle">{_number(value)}</text>')
        for value in ticks(*y_range, count=4):
            y = self.y(value)
            self.parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" class="grid"/>')
            self.parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="end">{_number(value)}</text>')
        centre = (_LEFT + _WIDTH - _RIGHT) / 2
        self.parts.append(f'<text x="{centre}" y="{_HEIGHT - 6}" class="middle">{escape(x_label)}</text>')
        self.parts.append(
            f'<text transform="translate(12 {middle}) rotate(-90)" class="middle">{escape(y_label)}</text>'
        )

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def svg(self, label: str) -> Markup:
        drawn = "".join(self.parts)
        return Markup(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{drawn}</svg>')


def histogram(edges: Sequence[float], counts: Sequence[int], x_label: str, label: str) -> Markup:
    """Bars of counts between edges."""
    plot = _Plot((edges[0], edges[-1]), (0, max(max(counts), 1)), x_label, "tokens")
    for low, high, count in zip(edges, edges[1:], counts):
        if count:
            left, top = plot.x(low), plot.y(count)
            plot.parts.append(
                f'<rect x="{left + 0.5:.1f}" y="{top:.1f}" width="{plot.x(high) - left - 1:.1f}" '
                f'height="{plot.y(0) - top:.1f}" class="composed"><title>{low:.2f} to {high:.2f}: {count:,}</title></rect>'
            )
    return plot.svg(label)


def outlines(edges: Sequence[float], groups: Mapping[str, Sequence[int]], x_label: str, label: str) -> Markup:
    """The outline of a histogram for each group, of which the name is the class; as shares of the group."""
    shares = {name: np.array(counts) / sum(counts) for name, counts in groups.items() if sum(counts)}
    top = max((share.max() for share in shares.values()), default=1.0)
    plot = _Plot((edges[0], edges[-1]), (0, 100 * float(top)), x_label, "% of its kind")
    for name, share in shares.items():
        steps = "".join(f"V{plot.y(100 * s):.1f}H{plot.x(high):.1f}" for s, high in zip(share, edges[1:]))
        path = f"M{plot.x(edges[0]):.1f} {plot.y(0):.1f}{steps}V{plot.y(0):.1f}"
        plot.parts.append(f'<path d="{path}" class="line {escape(name)}"><title>{escape(name)}</title></path>')
    return plot.svg(label)


def truncation_curve(errors: Sequence[float], chosen: int | None, label: str) -> Markup:
    """The error of each rank 0 ... D, with a mark at the chosen one."""
    last = len(errors) - 1
    plot = _Plot((0, last), (0, 1), "embedding size D′", "‖E − F P‖ / ‖E‖")
    shown = sorted({*np.linspace(0, last, min(last, 200) + 1).round().astype(int).tolist(), chosen or 0})
    points = "L".join(f"{plot.x(rank):.1f} {plot.y(errors[rank]):.1f}" for rank in shown)
    plot.parts.append(f'<path d="M{points}" class="line source"/>')
    if chosen is not None:
        x, y = plot.x(chosen), plot.y(errors[chosen])
        plot.parts.append(f'<path d="M{x:.1f} {plot.y(0):.1f}V{y:.1f}H{_LEFT}" class="mark"/>')
        plot.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="point"/>')
        anchor, shift = ("end", -9) if x > _WIDTH * 0.6 else ("start", 9)
        plot.parts.append(
            f'<text x="{x + shift:.1f}" y="{max(y - 8, _TOP + 10):.1f}" class="{anchor} strong">'
            f"D′ = {chosen}: {errors[chosen]:.3f}</text>"
        )
    return plot.svg(label)


# Classes of the lines that are told apart, the first of most weight; the others are grey.
CURVES = ("copied", "fallback", "composed", "source")


def curves(
    places: Sequence[float], values: Mapping[str, Sequence[float]], classes: Mapping[str, str], label: str
) -> Markup:
    """A line for each name over training steps, those with a class on top."""
    low, high = (bound(bound(found) for found in values.values()) for bound in (min, max))
    margin = 0.05 * (high - low) or 1.0
    plot = _Plot((places[0], places[-1]), (low - margin, high + margin), "training steps", label)
    for name, found in reversed(values.items()):
        points = "L".join(f"{plot.x(place):.1f} {plot.y(value):.1f}" for place, value in zip(places, found))
        css = classes.get(name, "other")
        plot.parts.append(f'<path d="M{points}" class="line {css}"><title>{escape(name)}</title></path>')
    return plot.svg(f"{label} by training steps")


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers from low to high."""
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [float(f"{value:.6g}") + 0.0 for value in values]  # -0.0 + 0.0 is 0.0


def _number(value: float) -> str:
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
