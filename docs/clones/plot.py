#!/usr/bin/env python3
"""Draws docs/clones/timeout.svg from docs/clones/timeout.csv: `python3 docs/clones/plot.py`. No libraries needed."""

import csv
import math
import pathlib

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 70, 80, 46, 50


def main():
    rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(open(HERE / "timeout.csv"))]
    end = rows[-1]["seconds"]
    most = max(row["live_clones"] for row in rows)

    def x(seconds):
        return LEFT + seconds / end * (WIDTH - LEFT - RIGHT)

    def y_timeout(seconds):
        low, high = math.log10(5), math.log10(5000)
        return TOP + (high - math.log10(seconds)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def y_clones(clones):
        return TOP + (1 - clones / (most * 1.1)) * (HEIGHT - TOP - BOTTOM)

    def steps(points):
        path = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
        path += [f"H{px:.1f}V{py:.1f}" for px, py in points[1:]]
        return "".join(path)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15">A flood, the timeout that follows it, and the clones</text>',
    ]
    for seconds in (10, 100, 1000, 3600):
        y = y_timeout(seconds)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#1f6fb4">{seconds} s</text>')
    for share in (0, 0.5, 1):
        clones = most * share
        out.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{y_clones(clones) + 4:.1f}" fill="#c44e1c">{clones:,.0f}</text>'
        )
    for seconds in range(0, int(end) + 1, 10):
        out.append(f'<text x="{x(seconds):.1f}" y="{HEIGHT - 26}" text-anchor="middle">{seconds}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">seconds</text>')
    clones = steps([(x(r["seconds"]), y_clones(r["live_clones"])) for r in rows])
    timeout = steps([(x(r["seconds"]), y_timeout(r["rtexpire_seconds"])) for r in rows])
    out.append(f'<path d="{clones}" fill="none" stroke="#c44e1c" stroke-width="1.5"/>')
    out.append(f'<path d="{timeout}" fill="none" stroke="#1f6fb4" stroke-width="2.5"/>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="24" text-anchor="end"><tspan fill="#1f6fb4">rtexpire in force</tspan>')
    out.append('<tspan fill="#c44e1c" dx="16">live clones, both CPUs</tspan></text></svg>')
    (HERE / "timeout.svg").write_text("\n".join(out) + "\n")


main()
