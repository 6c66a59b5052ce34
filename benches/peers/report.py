"""What `run` reports: Markdown and a chart."""

import platform, re, shutil, subprocess
from datetime import date
from html import escape
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from scenarios import FOUR, SHORT

HERE = Path(__file__).resolve().parent


class Sample(NamedTuple):
    value: float
    rate: float = 0
    p99: float = 0


class Ratio(NamedTuple):
    """A figure of one server by that of another: the median over the rounds and the quartiles; and that of quiet rounds."""

    median: float
    first: float
    third: float
    quiet: float

    def __str__(self):
        spread = f" ({self.first:.2f}–{self.third:.2f})" if self.first < self.third else ""
        return f"{self.median:.2f}{spread}"


def quiet(samples):
    """The median of the lesser half: what else the machine does only ever adds."""
    return median(sorted(sample.value for sample in samples)[: (len(samples) + 1) // 2])


def ratio(ours, theirs):
    ratios = [our.value / their.value for our, their in zip(ours, theirs)]
    # One round has no quartiles.
    first, middle, third = quantiles(ratios * 2 if len(ratios) == 1 else ratios, method="inclusive")
    return Ratio(middle, first, third, quiet(ours) / quiet(theirs))


def report(results, rounds, cores, crates):
    """Says what was measured, as Markdown: how, whether the goals are met, and all the figures."""
    how = f"{date.today()}, {rounds}, on {machine(cores, crates)}"
    return "\n".join([how, "", *goals(results), "", *table(results)])


def goals(results):
    yield "| goal of micro-smol | median | quiet half | state |\n| --- | ---: | ---: | --- |"
    for scenario, servers in results:
        for against, most in scenario.goals.items():
            peers = [Sample(1)] * len(servers["micro-smol"]) if against == "MiB" else servers.get(against)
            if not peers:
                continue
            found = ratio(servers["micro-smol"], peers)
            state = "met" if found.median <= most else f"not met: {found.median / most - 1:.1%} above"
            if len({found.first <= most, found.third <= most, found.quiet <= most}) > 1:
                state += "; rounds disagree"
            goal = f"{scenario.name}: ≤ {most}{' MiB' if against == 'MiB' else f' of {against}'}"
            yield f"| {goal} | {found} | {found.quiet:.2f} | {state} |"


def table(results):
    yield "| scenario | server | median | quiet half | ratio to hyper | quiet half | requests/s | p99 ms |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for scenario, servers in results:
        for server, samples in servers.items():
            value, rate, p99 = (median(column) for column in zip(*samples))
            load = f"{rate:,.0f} | {p99:.2f}" if p99 else f"{rate:,.0f} |" if rate else "|"
            figures = f"{value:,.2f} {scenario.unit} | {quiet(samples):,.2f}"
            found = ratio(samples, servers["hyper"])
            yield f"| {scenario.name} | {server} | {figures} | {found} | {found.quiet:.2f} | {load} |"


def machine(cores, crates):
    def said(*command):
        return subprocess.check_output(command, text=True).strip() if shutil.which(command[0]) else f"no {command[0]}"

    model = re.search("model name.*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = dict(re.findall(r'name = "(.*)"\nversion = "(.*)"', (HERE / "Cargo.lock").read_text()))
    peers = ", ".join(f"{name} {versions[name]}" for name in crates if name in versions)
    rust, go = said("rustc", "-V").split(" (")[0], re.sub(r".* go(\S+) .*", r"Go \1", said("go", "version"))
    hardware = f"{cores} cores of {model[1] if model else platform.machine()}, Linux {platform.release().split('-')[0]}"
    return f"{hardware}; {rust}; {peers}; {go}; Node {said('node', '-v')}."


def rows(results):
    """What the project's README shows: its scenarios, the figure of hyper, and the ratios of the others to it."""
    for scenario, servers in results:
        if scenario.name in {each.name for each in SHORT}:
            hyper = servers["hyper"]
            figure = f"{median(sample.value for sample in hyper):,.1f} {scenario.unit}"
            others = {server: ratio(servers[server], hyper) for server in FOUR[1:] if server in servers}
            yield scenario.name, figure, others


def short(results, how):
    yield "![CPU time of a request beside hyper’s](benches/peers.svg)\n"
    yield f"The CPU time of a request, by that of hyper in the same run; less is better. {how}:\n"
    yield "| | " + " | ".join(FOUR) + " |\n| --- |" + " ---: |" * len(FOUR)
    for name, figure, others in rows(results):
        ratios = [f"{others[server].median:.2f}" if server in others else "" for server in FOUR[1:]]
        yield f"| {name} | {' | '.join([figure, *ratios])} |"


LEFT, WIDTH, TOP, BAR = 380, 400, 58, 17
COLOURS = {"micro-smol": "#e0702a", "axum": "#3b82c4", "actix-web": "#2f9e63"}


def chart(results):
    """Draws an SVG that is legible on a light and on a dark page."""
    shown = list(rows(results))
    most = max(found.third for _, _, others in shown for found in others.values())
    scale, group = WIDTH / max(most, 1), BAR * len(COLOURS) + 14
    height = TOP + group * len(shown)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 {height}" font-family="sans-serif" font-size="13">'
    yield "<title>CPU time of a request beside hyper’s</title>"
    yield "<style>text{fill:#767d87}path{stroke:#767d87;stroke-width:1.5}</style>"
    yield '<text x="10" y="20" font-weight="bold">CPU time of a request, by that of hyper: less is better</text>'
    for x, (server, colour) in zip(range(LEFT, 840, 110), COLOURS.items()):
        yield f'<rect x="{x}" y="32" width="12" height="12" rx="2" fill="{colour}"/><text x="{x + 18}" y="43">{server}</text>'
    yield f'<text x="{LEFT + scale:.1f}" y="20" text-anchor="middle">hyper: 1</text>'
    for top, (name, figure, others) in zip(range(TOP, height, group), shown):
        yield f'<text x="{LEFT - 12}" y="{top + 20}" text-anchor="end">{escape(name)}</text>'
        yield f'<text x="{LEFT - 12}" y="{top + 37}" text-anchor="end" font-size="11">hyper: {figure}</text>'
        for y, server in zip(range(top, height, BAR), COLOURS):
            yield from bar(y, scale, COLOURS[server], others[server]) if server in others else ()
    yield f'<path d="M{LEFT + scale:.1f} 26V{height - 10}" stroke-dasharray="2 3"/>'
    yield "</svg>\n"


def bar(y, scale, colour, found):
    """The median, and a thin line between the quartiles."""
    yield f'<rect x="{LEFT}" y="{y}" width="{scale * found.median:.1f}" height="{BAR - 3}" rx="2" fill="{colour}"/>'
    if found.first < found.third:
        yield f'<path d="M{LEFT + scale * found.first:.1f} {y + BAR // 2 - 1}H{LEFT + scale * found.third:.1f}"/>'
    yield f'<text x="830" y="{y + 12}" text-anchor="end">{found.median:.2f}</text>'


def write(text, results):
    how = text.partition(";")[0]
    full = f"![CPU time of a request beside hyper’s](peers.svg)\n\n{text}"
    for directory, measured in (HERE.parent, full), (HERE.parent.parent, "\n".join(short(results, how))):
        readme = directory / "README.md"
        before, begin, rest = readme.read_text().partition("<!-- measured -->\n")
        readme.write_text(f"{before}{begin}\n{measured}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
    (HERE.parent / "peers.svg").write_text("\n".join(chart(results)))
