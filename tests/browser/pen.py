"""A pen for the page's sheet: digits as strokes, in the sheet's own 640 by 480 pixels, drawn with
the mouse or a finger.
"""

import math
from itertools import pairwise

THREE = [
    [
        (230, 120),
        (290, 80),
        (360, 90),
        (390, 140),
        (350, 195),
        (295, 215),
        (350, 225),
        (405, 270),
        (400, 335),
        (340, 380),
        (270, 375),
        (225, 345),
    ]
]
SEVEN = [[(220, 100), (400, 100), (300, 380)]]
NUMBER = [
    [(60, 120), (170, 120), (110, 330)],
    [(270, 110), (262, 330)],
    [(400, 140), (450, 110), (490, 150), (480, 200), (390, 320), (505, 322)],
]


def rounded(line, times=2):
    "A line with its corners cut, as a hand would."
    for _ in range(times):
        cut = [
            ((1 - share) * x + share * u, (1 - share) * y + share * v)
            for (x, y), (u, v) in pairwise(line)
            for share in (0.25, 0.75)
        ]
        line = [line[0], *cut, line[-1]]
    return line


def points(page, line, step=24):
    """Where a line of the sheet is in the browser's window: its ends, corners, and points between
    them, `step` pixels apart, as from a quick hand.
    """
    sheet = page.locator(".mnb-sheet canvas").first
    sheet.wait_for()
    box = sheet.bounding_box()
    scale = box["width"] / 640
    places = [(box["x"] + scale * x, box["y"] + scale * y) for x, y in line]
    found = [places[0]]
    for (x, y), (u, v) in pairwise(places):
        steps = max(1, round(math.hypot(u - x, v - y) / step))
        found += [
            (x + (u - x) * at / steps, y + (v - y) * at / steps) for at in range(1, steps + 1)
        ]
    return found


def draw(page, lines, lift=True, pause=6, step=24):
    "Draw lines with the mouse; `lift` says whether the button is let go in the end."
    for line in lines:
        places = points(page, line, step)
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
            page.wait_for_timeout(pause)
        if lift:
            page.mouse.up()


def touch(page, lines, other=None):
    "Draw lines with a finger, while an `other` one may rest somewhere."
    session = page.context.new_cdp_session(page)

    def tell(kind, *fingers):
        session.send(
            "Input.dispatchTouchEvent",
            {
                "type": kind,
                "touchPoints": [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(fingers)],
            },
        )

    rest = (other,) if other else ()
    for line in lines:
        places = points(page, line)
        tell("touchStart", places[0])
        if other:
            tell("touchStart", places[0], other)
        for place in places[1:]:
            tell("touchMove", place, *rest)
            page.wait_for_timeout(6)
        tell("touchEnd")
