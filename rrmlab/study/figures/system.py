"""The picture of the system for the documentation: APs, users, serving links, interference, messages; an SVG."""

from __future__ import annotations

import math

Point = tuple[float, float]

APS: tuple[Point, ...] = ((95, 80), (385, 80), (95, 250), (385, 250))
SILENT = 2  # this AP transmits to nobody
# Of each AP its three users, as offsets from it; the first one is served.
USERS: tuple[tuple[Point, ...], ...] = (
    ((60, -38), (-46, 36), (-40, -44)),
    ((14, 66), (48, -38), (52, 20)),
    ((36, -54), (-48, 40), (-52, -26)),
    ((-80, 18), (44, 42), (54, -30)),
)
CONTROLLER: Point = (240, 165)
COLOURS = ("#0173b2", "#b35f00", "#017a5c", "#a8397d")  # with a contrast of at least 4.5 to white
INTERFERENCE = "#c1121f"
LEGEND = ("AP that transmits", "AP that is silent", "user", "signal", "interference", "messages (if any)")


def system_svg() -> str:
    """The picture as the text of an SVG file, the same at every call."""
    served = [(x + users[0][0], y + users[0][1]) for (x, y), users in zip(APS, USERS, strict=True)]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 400" role="img"',
        ' font-family="sans-serif" font-size="14">',
        "<title>Four access points on one channel</title>",
        '<rect width="480" height="400" fill="white"/>',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{INTERFERENCE}"/></marker></defs>',
    ]
    parts += [_line(ap, CONTROLLER, "#555555", 'stroke-dasharray="1 5" stroke-linecap="round"') for ap in APS]
    for ap in range(len(APS)):
        for other in range(len(APS)):
            if ap != other and SILENT not in (ap, other):
                start, end = _shortened(APS[ap], served[other])
                style = 'stroke-dasharray="6 4" marker-end="url(#tip)" class="interference"'
                parts.append(_line(start, end, INTERFERENCE, style, 1.2))
    for ap, ((x, y), users) in enumerate(zip(APS, USERS, strict=True)):
        if ap != SILENT:
            parts.append(_line((x, y), served[ap], COLOURS[ap], 'class="signal"', 4))
        parts += [_user((x + dx, y + dy), COLOURS[ap], ap != SILENT and k == 0) for k, (dx, dy) in enumerate(users)]
        parts.append(_ap((x, y), COLOURS[ap], ap != SILENT, str(ap)))
    x, y = CONTROLLER
    parts.append(f'<rect x="{x - 48}" y="{y - 15}" width="96" height="30" rx="6" fill="white" stroke="#555555"/>')
    parts.append(f'<text x="{x}" y="{y + 5}" text-anchor="middle">controller</text>')
    return "\n".join([*parts, *_legend(), "</svg>"]) + "\n"


def _legend() -> list[str]:
    parts = []
    for k, label in enumerate(LEGEND):
        x, y = 24 + 236 * (k // 3), 328 + 26 * (k % 3)
        symbol = (
            _ap((x + 12, y), "#444444", True, "", 7),
            _ap((x + 12, y), "#444444", False, "", 7),
            _user((x + 12, y), "#444444", False),
            _line((x, y), (x + 26, y), "#444444", "", 4),
            _line((x, y), (x + 26, y), INTERFERENCE, 'stroke-dasharray="6 4" marker-end="url(#tip)"', 1.2),
            _line((x, y), (x + 26, y), "#555555", 'stroke-dasharray="1 5" stroke-linecap="round"'),
        )[k]
        parts += [symbol, f'<text x="{x + 36}" y="{y + 5}">{label}</text>']
    return parts


def _line(start: Point, end: Point, colour: str, style: str = "", width: float = 2) -> str:
    (x1, y1), (x2, y2) = start, end
    place = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {place} stroke="{colour}" stroke-width="{width:g}" {style}/>'


def _ap(at: Point, colour: str, on: bool, label: str, half: int = 13) -> str:
    (x, y), fill = at, colour if on else "white"
    box = f'<rect x="{x - half:g}" y="{y - half:g}" width="{2 * half}" height="{2 * half}" rx="3" fill="{fill}" '
    text = f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" font-weight="bold" fill="{"white" if on else colour}">'
    return box + f'stroke="{colour}" stroke-width="2"/>' + (f"{text}{label}</text>" if label else "")


def _user(at: Point, colour: str, on: bool) -> str:
    (x, y), fill = at, colour if on else "white"
    return f'<circle cx="{x:g}" cy="{y:g}" r="{7 if on else 5}" fill="{fill}" stroke="{colour}"/>'


def _shortened(start: Point, end: Point, before: float = 18, after: float = 11) -> tuple[Point, Point]:
    """The line without its ends, which lie under the symbols."""
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    return (
        (round(x1 + before * dx, 1), round(y1 + before * dy, 1)),
        (round(x2 - after * dx, 1), round(y2 - after * dy, 1)),
    )
