# SPDX-License-Identifier: Apache-2.0
"""A plot of recall against queries per second as SVG text, without any library.

The x axis shows -log10(1 - recall), so that 0.9, 0.99 and 0.999 stand equally far apart; the y axis
is logarithmic.
"""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 520
LEFT, TOP, RIGHT, BOTTOM = 80, 50, 190, 60
COLOURS = ["#000000", "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2",
           "#17becf", "#bcbd22", "#7f7f7f", "#3b6e22"]
RECALLS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999]


def across(recall):
    return -math.log10(max(1.0 - recall, 5e-5))


def plot(title, lines, low=0.8):
    """lines: {name: [(recall, qps), ...]}; points below `low` are left out."""
    shown = {name: sorted(p for p in points if p[0] >= low) for name, points in lines.items()}
    shown = {name: points for name, points in shown.items() if points}
    every = [p for points in shown.values() for p in points]
    if not every:
        return ""
    x0, x1 = across(low), max(across(max(r for r, _ in every)), across(0.999))
    y0 = math.floor(math.log10(min(q for _, q in every)) * 3) / 3
    y1 = math.ceil(math.log10(max(q for _, q in every)) * 3) / 3

    def at(recall, qps):
        x = LEFT + (across(recall) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (math.log10(qps) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return x, y

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="28" font-size="15">{escape(title)}</text>']
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for r in RECALLS:
        if x0 <= across(r) <= x1:
            x = at(r, 10 ** y0)[0]
            out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" '
                       f'stroke="#dddddd"/><text x="{x:.1f}" y="{bottom + 18}" '
                       f'text-anchor="middle">{r:g}</text>')
    for step in range(math.floor(y0), math.ceil(y1) + 1):
        for factor in (1, 2, 5):
            if y0 <= math.log10(factor) + step <= y1:
                y = at(low, factor * 10 ** step)[1]
                out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" '
                           f'stroke="#dddddd"/><text x="{LEFT - 8}" y="{y + 4:.1f}" '
                           f'text-anchor="end">{factor * 10 ** step:,.0f}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 16}" text-anchor="middle">'
               'recall@10 by distance</text>')
    out.append(f'<text x="18" y="{(TOP + bottom) / 2}" text-anchor="middle" transform="rotate(-90 '
               f'18 {(TOP + bottom) / 2})">queries a second, one thread</text>')
    for i, (name, points) in enumerate(shown.items()):
        colour, wide = COLOURS[i % len(COLOURS)], 3 if i == 0 else 1.6
        where = [at(r, q) for r, q in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                   f'stroke-width="{wide}"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in where]
        y = TOP + 16 + 20 * i
        out.append(f'<line x1="{right + 14}" y1="{y}" x2="{right + 40}" y2="{y}" '
                   f'stroke="{colour}" stroke-width="{wide}"/>'
                   f'<text x="{right + 46}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join(out) + "\n</svg>\n"
