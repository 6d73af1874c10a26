"""Bar and line charts as SVG, from the standard library alone."""

import math
from xml.sax.saxutils import escape

FONT = "font-family='DejaVu Sans, Verdana, Arial, sans-serif'"
COLOURS = {"ours": "#1b6ca8", "Asio": "#e08e2b", "Asio + promise": "#c9b458", "libuv": "#6a9a5b"}
BY_HAND = "#8a8a8a"
INK, FAINT, GRID, ALARM = "#222222", "#666666", "#e2e2e2", "#b3261e"


class Svg:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.parts = []

    def text(self, x, y, text, size=12, anchor="start", colour=INK, weight="normal", turn=0):
        place = f"transform='rotate({turn} {x:.1f} {y:.1f})' " if turn else ""
        self.parts.append(f"<text x='{x:.1f}' y='{y:.1f}' {place}font-size='{size}' text-anchor='{anchor}' "
                          f"fill='{colour}' font-weight='{weight}'>{escape(text)}</text>")

    def line(self, x1, y1, x2, y2, colour=GRID, width=1, dash=""):
        dashes = f" stroke-dasharray='{dash}'" if dash else ""
        self.parts.append(f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' "
                          f"stroke-width='{width}'{dashes}/>")

    def bar(self, x, y, width, height, colour):
        self.parts.append(f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{colour}'/>")

    def dot(self, x, y, colour):
        self.parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>")

    def path(self, points, colour, width):
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f"<polyline points='{joined}' fill='none' stroke='{colour}' stroke-width='{width}'/>")

    def __str__(self):
        return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' "
                f"width='{self.width}' height='{self.height}' {FONT}>\n"
                "<rect width='100%' height='100%' fill='white'/>\n"
                + "\n".join(self.parts) + "\n</svg>\n")


def colour(name):
    return COLOURS.get(name, BY_HAND)


def ratio(value):
    digits = 3 if value < 0.1 else 2 if value < 10 else 0
    return f"{value:.{digits}f}"


def bars(title, subtitle, groups, names):
    """`groups`: (what, what 1 is, [(who, cost relative to 1, text)], target or None). Logarithmic, 1 is a line."""
    left, right, thickness, gap = 330, 170, 13, 20
    costs = [cost for *_, group, target in groups for cost in [target or 1, *(one[1] for one in group)]]
    low = math.floor(math.log10(min(costs)))
    high = math.log10(max([*costs, 3])) + 0.05
    width = 1000
    height = 124 + sum(len(group) * thickness + gap for *_, group, _ in groups)
    svg = Svg(width, height)

    def x(cost):
        return left + (math.log10(cost) - low) / (high - low) * (width - left - right)

    svg.text(16, 26, title, 18, weight="bold")
    svg.text(16, 45, subtitle, 11, colour=FAINT)
    at = 16
    for who, name in names.items():
        svg.bar(at, 57, 12, 12, colour(name))
        svg.text(at + 17, 67, name, 12)
        at += 35 + 7.5 * len(name)
    svg.line(at + 4, 54, at + 4, 72, ALARM, 2)
    svg.text(at + 12, 67, "target of ours", 12)
    top = 96
    for power in range(low, math.floor(high) + 1):
        for step in (1, 2, 5):
            tick = step * 10.0**power
            if math.log10(tick) <= high:
                svg.line(x(tick), top - 6, x(tick), height - 20, INK if tick == 1 else GRID, 1.3 if tick == 1 else 1)
                svg.text(x(tick), top - 10, f"{tick:g}×", 10, "middle", FAINT)
    y = top + 6
    for what, unit, group, target in groups:
        middle = y + len(group) * thickness / 2
        svg.text(left - 14, middle - 1, what, 12, "end")
        svg.text(left - 14, middle + 12, f"1 = {unit}", 10, "end", FAINT)
        for i, (who, cost, text) in enumerate(group):
            start, end = sorted((x(1), x(cost)))
            svg.bar(start, y + i * thickness, max(end - start, 1), thickness - 2, colour(names[who]))
            weight = "bold" if who == "ours" else "normal"
            svg.text(width - right + 52, y + i * thickness + 9.5, f"{ratio(cost)}×", 10, "end", weight=weight)
            svg.text(width - right + 64, y + i * thickness + 9.5, text, 10, weight=weight)
        if target:
            svg.line(x(target), y - 3, x(target), y + len(group) * thickness + 1, ALARM, 2)
        y += len(group) * thickness + gap
    svg.text(x(1) - 8, height - 6, "◂ cheaper than by hand", 10, "end", FAINT)
    svg.text(x(1) + 8, height - 6, "dearer ▸", 10, "start", FAINT)
    return str(svg)


def panels(title, subtitle, charts):
    """Line charts side by side, both axes logarithmic. `charts`: (y axis, x axis, {name: [(x, y)]})."""
    width, height, margin, between = 1000, 400, 66, 20
    svg = Svg(width, height)
    svg.text(16, 26, title, 18, weight="bold")
    svg.text(16, 45, subtitle, 11, colour=FAINT)
    names = list(dict.fromkeys(name for *_, series in charts for name in series))
    at = 16
    for name in names:
        svg.line(at, 63, at + 18, 63, colour(name), 3 if name == "ours" else 1.6)
        svg.text(at + 23, 67, name, 12)
        at += 45 + 7.5 * len(name)
    charts = [chart for chart in charts if chart[2]]
    panel = (width - between) / len(charts)
    for number, (y_axis, x_axis, series) in enumerate(charts):
        x0, x1, y0, y1 = number * panel + margin, (number + 1) * panel - 8, height - 48, 96
        xs = [math.log10(x) for points in series.values() for x, _ in points]
        ys = [math.log10(y) for points in series.values() for _, y in points]
        x_low, x_high = min(xs), max(max(xs), min(xs) + 0.01)
        y_low, y_high = math.floor(min(ys)), math.ceil(max(max(ys), math.floor(min(ys)) + 0.01))

        def place(x, y):
            return (x0 + (math.log10(x) - x_low) / (x_high - x_low) * (x1 - x0),
                    y0 - (math.log10(y) - y_low) / (y_high - y_low) * (y0 - y1))

        svg.text(x0 - 50, y1 - 10, y_axis, 12, weight="bold")
        svg.text((x0 + x1) / 2, height - 10, x_axis, 12, "middle")
        for power in range(y_low, y_high + 1):
            for step in (1, 2, 5) if y_high - y_low <= 3 else (1,):
                tick = step * 10.0**power
                if math.log10(tick) <= y_high:
                    _, y = place(10**x_low, tick)
                    svg.line(x0, y, x1, y)
                    svg.text(x0 - 6, y + 4, short(tick), 10, "end", FAINT)
        for tick in sorted({x for points in series.values() for x, _ in points}):
            x, _ = place(tick, 10.0**y_low)
            svg.line(x, y0, x, y1)
            svg.text(x, y0 + 16, short(tick), 10, "middle", FAINT)
        for name, points in reversed(series.items()):
            placed = [place(*point) for point in points]
            svg.path(placed, colour(name), 3 if name == "ours" else 1.6)
            for point in placed:
                svg.dot(*point, colour(name))
    return str(svg)


def short(value):
    for scale, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{suffix}"
    return f"{value:g}"
