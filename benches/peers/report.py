"""What `run` reports: Markdown and a chart."""

import platform, re, shutil, subprocess
from datetime import date
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


class Sample(NamedTuple):
    value: float
    rate: float = 0
    p99: float = 0


class Ratio(NamedTuple):
    """A figure of one server by that of another: the median over the rounds, the least and the greatest."""

    median: float
    least: float
    greatest: float

    def __str__(self):
        spread = f" ({self.least:.2f}–{self.greatest:.2f})" if self.least < self.greatest else ""
        return f"{self.median:.2f}{spread}"


def ratio(ours, theirs, figure="value"):
    ratios = [getattr(our, figure) / getattr(their, figure) for our, their in zip(ours, theirs)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def report(results, rounds, cores, crates):
    """Says what was measured, as Markdown: how, whether the goals are met, and all the figures."""
    how = f"{date.today()}, {rounds}, on {machine(cores, crates)}"
    return "\n".join([how, "", *goals(results), "", *table(results)])


def goals(results):
    yield "| goal of micro-smol | measured | state |\n| --- | ---: | --- |"
    for scenario, servers in results:
        for against, most in scenario.goals.items():
            ours, hyper = servers["micro-smol"], servers["hyper"]
            if against == "p99":
                what, found = f"p99 ≤ {most} of hyper’s", ratio(ours, hyper, "p99")
            elif against == "MiB":
                what, found = f"≤ {most} MiB", ratio(ours, [Sample(1)])
            elif against in servers:
                what, found = f"≤ {most} of {against}", ratio(ours, servers[against])
            else:
                continue
            state = "met" if found.median <= most else f"not met: {found.median / most - 1:.1%} above"
            yield f"| {scenario.name}: {what} | {found} | {state} |"


def table(results):
    yield "| scenario | server | median | ratio to hyper | requests/s | p99 ms |\n| --- | --- | ---: | ---: | ---: | ---: |"
    for scenario, servers in results:
        for server, samples in servers.items():
            value, rate, p99 = (median(column) for column in zip(*samples))
            load = f"{rate:,.0f} | {p99:.2f}" if p99 else f"{rate:,.0f} |" if rate else "|"
            figures = f"{value:.2f} {scenario.unit} | {ratio(samples, servers['hyper'])} | {load}"
            yield f"| {scenario.name} | {server} | {figures} |"


def machine(cores, crates):
    def said(*command):
        return subprocess.check_output(command, text=True).strip() if shutil.which(command[0]) else f"no {command[0]}"

    model = re.search("model name.*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = dict(re.findall(r'name = "(.*)"\nversion = "(.*)"', (HERE / "Cargo.lock").read_text()))
    peers = ", ".join(f"{name} {versions[name]}" for name in crates if name in versions)
    rust, go = said("rustc", "-V").split(" (")[0], re.sub(r".* go(\S+) .*", r"Go \1", said("go", "version"))
    hardware = f"{cores} cores of {model[1] if model else platform.machine()}, Linux {platform.release().split('-')[0]}"
    return f"{hardware}; {rust}; {peers}; {go}; Node {said('node', '-v')}."


def chart(results):
    """Draws an SVG that is legible on a light and on a dark page."""
    scenario, servers = results[0]
    medians = [(name, median(sample.value for sample in samples)) for name, samples in servers.items()]
    rows = [(name, Ratio(*[value] * 3), None) for name, value in sorted(medians, key=lambda row: row[1])]
    panels = [(f"{scenario.name}: {scenario.unit} of CPU a request", rows, None)]
    rows = [(each.name, ratio(found["micro-smol"], found["hyper"]), each.goals.get("hyper")) for each, found in results]
    panels.append(("micro-smol’s figure by hyper’s (dotted: equal; blue: the goal; thin: all rounds)", rows, 1))
    height = sum(48 + 22 * len(rows) for _, rows, _ in panels)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 {height}" font-family="sans-serif" font-size="13">'
    yield "<style>text{fill:#7d8590}rect{fill:#7d859099}.ours{fill:#e0702a}path{stroke:#7d8590;stroke-width:2}.goal{stroke:#388bfd}</style>"
    top = 0
    for title, rows, line in panels:
        yield from panel(top, title, rows, line)
        top += 48 + 22 * len(rows)
    yield "</svg>\n"


def panel(top, title, rows, line):
    left, scale = 320, 440 / max(most for _, figure, goal in rows for most in (figure.greatest, goal or 0, line or 0))
    yield f'<text x="10" y="{top + 22}" font-weight="bold">{title}</text>'
    if line:
        yield f'<path d="M{left + scale * line:.1f} {top + 32}v{22 * len(rows)}" stroke-dasharray="2 3"/>'
    for y, (name, figure, goal) in zip(range(top + 34, 1 << 20, 22), rows):
        ours = ' class="ours"' if line or name == "micro-smol" else ""
        yield f'<text x="{left - 10}" y="{y + 13}" text-anchor="end">{name}</text>'
        yield f'<rect x="{left}" y="{y}" width="{scale * figure.median:.1f}" height="16" rx="2"{ours}/>'
        if figure.least < figure.greatest:
            yield f'<path d="M{left + scale * figure.least:.1f} {y + 8}H{left + scale * figure.greatest:.1f}"/>'
        if goal:
            yield f'<path class="goal" d="M{left + scale * goal:.1f} {y - 1}v18"/>'
        yield f'<text x="820" y="{y + 13}" text-anchor="end">{figure.median:.2f}</text>'


SHORT = ("micro-smol", "axum", "actix-web", "Go net/http", "micro (npm)")


def short(results):
    """The scenarios that all servers take part in, as the project's README shows them."""
    yield f"Each figure is a ratio to hyper's in the same run; less is better. {date.today()}, on two cores:\n"
    yield "| | " + " | ".join(SHORT) + " |\n| --- |" + " ---: |" * len(SHORT)
    for scenario, servers in results:
        if all(server in servers for server in SHORT):
            medians = [f"{ratio(servers[server], servers['hyper']).median:.2f}" for server in SHORT]
            yield f"| {scenario.name} | {' | '.join(medians)} |"


def write(text, results):
    text = f"![The CPU time of a request, and micro-smol’s figures by hyper’s](peers.svg)\n\n{text}"
    for directory, measured in (HERE.parent, text), (HERE.parent.parent, "\n".join(short(results))):
        readme = directory / "README.md"
        before, begin, rest = readme.read_text().partition("<!-- measured -->\n")
        readme.write_text(f"{before}{begin}\n{measured}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
    (HERE.parent / "peers.svg").write_text("\n".join(chart(results)))
