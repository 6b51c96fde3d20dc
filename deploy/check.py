#!/usr/bin/env python3
"""Holds rules, alerts, dashboard and the page of metrics to a running Prometheus and the server that it scrapes.

    deploy/check.py http://localhost:9090 [--target http://localhost:8080/metrics] [--expect-data[=WORDS]]

Every expression of `prometheus/*.rules.yml`, `prometheus/*.alerts.yml` and `grafana/*.json` is asked of the
Prometheus; every metric that it names has to be in `metrics.md`, every recorded one in the rules; and the rules that
the Prometheus has loaded have to be those of the files. With `--target` the server's `/metrics` is compared with
`metrics.md`: names, types, labels.

With `--expect-data` metrics have to be there too, and recording rules and panels to have values: ask once two scrapes
with traffic between them are over. WORDS says what the server has
seen, as in the column "appears" of `metrics.md` (`start,request,feedback`; all where none are given): a metric
that appears for another reason may be absent.

Exit code 1 where something is wrong, and a line for each. Only Python's own library is needed.
"""

import argparse
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

# What Grafana puts in place of its variables, as far as an expression cares.
VARIABLES = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h", "job": ".*"}

# Not ours, and always there.
FOREIGN = {"up", "ALERTS"}

# Labels that Prometheus and histograms bring.
FOREIGN_LABELS = {"job", "instance", "le"}


def get(url):
    """The body of a GET; an answer of Prometheus that says why something is wrong is one too."""
    # No proxy: what is asked is named by hand and most often local.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


class Prometheus:
    """The HTTP API, as far as it is needed."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def ask(self, path, **arguments):
        """Returns what was found, or raises ValueError with what Prometheus said."""
        body = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
        try:
            answer = json.loads(body)
        except json.JSONDecodeError:
            raise ValueError(f"no JSON: {body[:200]}") from None
        if answer["status"] != "success":
            raise ValueError(answer.get("error", body))
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def names(self):
        return set(self.ask("label/__name__/values"))

    def loaded(self):
        """Loaded rules: name, expression, last error."""
        groups = self.ask("rules")["groups"]
        return [(rule["name"], rule["query"], rule.get("lastError", "")) for group in groups for rule in group["rules"]]


def rules(text):
    """(kind, name, expression) of a rule file, in the YAML that our files are written in: `expr:` on one line or as
    a block after `|`. That none was missed is told by what Prometheus has loaded."""
    found, kind, name, block = [], None, None, None
    for line in text.splitlines() + ["end:"]:
        indent = len(line) - len(line.lstrip())
        if block is not None:
            if line.strip() and indent <= block[0]:
                found.append((kind, name, "\n".join(block[1])))
                block = None
            else:
                block[1].append(line.strip())
                continue
        if head := re.match(r"\s*- (record|alert): (\S+)$", line):
            kind, name = head.groups()
        elif expression := re.match(r"\s*expr: (.+)$", line):
            if expression[1] in ("|", ">-"):
                block = (indent, [])
            else:
                found.append((kind, name, expression[1]))
    return found


def panels(value, place):
    """(place, expression) of everything that a dashboard asks for."""
    if isinstance(value, dict):
        place = f"{place}: {value['title']}" if isinstance(value.get("title"), str) else place
        for key, inner in value.items():
            if key == "expr":
                yield place, inner
            else:
                yield from panels(inner, place)
    elif isinstance(value, list):
        for inner in value:
            yield from panels(inner, place)


def variables(dashboard):
    """(place, metric) of the variables that are read from a metric's labels."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = variable["query"]["query"] if isinstance(variable["query"], dict) else variable["query"]
            values = re.fullmatch(r"label_values\((.+), *\w+\)", asked)
            yield f"variable {variable['name']}", values[1] if values else asked


def substituted(expression):
    """An expression as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = re.sub(rf"\$\{{{name}(:\w+)?\}}|\${name}\b", lambda _, value=value: value, expression)
    return expression


def metrics_of(expression):
    """Names of ours in an expression; not those in strings, and not those of labels."""
    code = re.sub(r'"[^"]*"', '""', expression)
    names = re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*", code)
    return {name for name in names if "tiercast_" in name or name.startswith("tiercast:") or name in FOREIGN}


def labels_of(expression):
    """Labels that an expression sums by, joins on or selects by."""
    grouped = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression)
    selected = re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"', expression)
    return {label.strip() for group in grouped for label in group.split(",") if label.strip()} | set(selected)


def base(name):
    """The metric of a family: a histogram has three."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def contract(text):
    """Metrics of `metrics.md`: name to (type, labels, appears)."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if name := re.fullmatch(r"`(tiercast_\w+)`", cells[0]):
            if len(cells) == 6:
                labels = frozenset(label.strip() for label in cells[2].split(",") if label.strip())
                found[name[1]] = (cells[1], labels, cells[4])
    return found


def scraped(text):
    """Metrics of `/metrics`: name to (type, set of sets of labels)."""
    types, labels = {}, {}
    for line in text.splitlines():
        if kind := re.match(r"# TYPE (\S+) (\S+)$", line):
            types[kind[1]] = kind[2]
        elif sample := re.match(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? \S+$", line):
            named = frozenset(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', sample[2] or "")) - {"le"}
            name = sample[1] if sample[1] in types else base(sample[1])
            labels.setdefault(name, set()).add(named)
    return {name: (types.get(name, "untyped"), found) for name, found in labels.items()}


class Check:
    """What is wrong, as it is found."""

    def __init__(self, prometheus, folder, words):
        self.prometheus, self.words, self.wrong, self.n_asked = prometheus, words, [], 0
        self.contract = contract((folder / "metrics.md").read_text())
        files = sorted(folder.glob("prometheus/*.rules.yml")) + sorted(folder.glob("prometheus/*.alerts.yml"))
        self.rules = [(path.name, *rule) for path in files for rule in rules(path.read_text())]
        self.recorded = {name for _, kind, name, _ in self.rules if kind == "record"}
        self.dashboards = [(path.name, json.loads(path.read_text())) for path in sorted(folder.glob("grafana/*.json"))]

    def fault(self, what):
        self.wrong.append(what)

    def may_be_absent(self, name):
        """Whether nothing has to have happened that makes the metric appear."""
        if self.words is None:
            return True
        return base(name) in self.contract and self.contract[base(name)][2] not in self.words

    def expression(self, place, expression, has_values):
        """Asks for an expression, which is to have values where there is data."""
        self.n_asked += 1
        if "$" in re.sub(r'"\$\d"', "", expression):
            self.fault(f"{place}: a variable that this check does not know: {expression}")
            return
        n_wrong = len(self.wrong)
        self.names(place, expression)
        try:
            found = self.prometheus.query(expression)
        except ValueError as error:
            self.fault(f"{place}: {error}: {expression}")
            return
        if has_values and not found and n_wrong == len(self.wrong) and not self.may_be_empty(expression):
            self.fault(f"{place}: yields nothing: {expression}")

    def names(self, place, expression):
        """What an expression names exists."""
        for name in sorted(metrics_of(expression) - FOREIGN - self.recorded):
            if ":" in name:
                self.fault(f"{place}: no rule records {name}")
            elif base(name) not in self.contract:
                self.fault(f"{place}: {name} is not in metrics.md")
            elif not self.may_be_absent(name) and name not in self.present:
                self.fault(f"{place}: Prometheus has no {name}")
        ours = [self.contract[base(name)][1] for name in self.rests_on(expression) if base(name) in self.contract]
        if ours:
            for label in sorted(labels_of(expression) - FOREIGN_LABELS - frozenset().union(*ours)):
                self.fault(f"{place}: no metric behind it has the label {label}: {expression}")

    def may_be_empty(self, expression):
        """Whether one of the metrics behind it may be absent, or all are 0 since nothing was asked yet."""
        return self.words is None or "request" not in self.words or any(self.may_be_absent(name) for name in self.rests_on(expression))

    def rests_on(self, expression, seen=frozenset()):
        """The metrics behind an expression, through the rules that it names."""
        for name in metrics_of(expression) - seen:
            if name in self.recorded:
                for _, _, recorded, inner in self.rules:
                    if recorded == name:
                        yield from self.rests_on(inner, seen | {name})
            else:
                yield name

    def run(self):
        self.present = self.prometheus.names()
        for file, kind, name, expression in self.rules:
            self.expression(f"{file}: {name}", expression, kind == "record")
        for file, dashboard in self.dashboards:
            asked = [*variables(dashboard), *panels(dashboard["panels"], "panel")]
            for place, expression in asked:
                self.expression(f"{file}: {place}", substituted(expression), True)
            for place, expression in panels(dashboard["annotations"]["list"], "annotation"):
                self.expression(f"{file}: {place}", substituted(expression), False)
        self.loaded()

    def loaded(self):
        """The rules that Prometheus runs are those of the files, and run."""
        loaded = self.prometheus.loaded()
        ours = {name for _, _, name, _ in self.rules}
        for name in sorted(ours - {name for name, _, _ in loaded}):
            self.fault(f"Prometheus has not loaded {name}")
        for name in sorted({name for name, query, _ in loaded if "tiercast" in query} - ours):
            self.fault(f"Prometheus has loaded {name}, which no file here has")
        for name, _, error in loaded:
            if name in ours and error:
                self.fault(f"{name}: {error}")

    def target(self, text):
        """`/metrics` and `metrics.md` say the same."""
        found = scraped(text)
        for name, (kind, labels) in sorted(found.items()):
            if name not in self.contract:
                self.fault(f"{name} is in /metrics and not in metrics.md")
                continue
            said, named, _ = self.contract[name]
            if kind != said:
                self.fault(f"{name} is a {kind}, and in metrics.md a {said}")
            for odd in sorted(sorted(labels) for labels in labels if labels != named):
                self.fault(f"{name} has the labels {odd}, and in metrics.md {sorted(named)}")
        words = {"start"} if self.words is None else self.words
        for name, (_, _, appears) in sorted(self.contract.items()):
            if appears in words and name not in found:
                self.fault(f"{name} is in metrics.md ({appears}) and not in /metrics")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prometheus", help="address of a running Prometheus")
    parser.add_argument("--target", help="address of the server's /metrics")
    parser.add_argument("--expect-data", nargs="?", const="", metavar="WORDS", help="metrics have to be there")
    parser.add_argument("--deploy", type=Path, default=Path(__file__).parent, help="folder of the files")
    arguments = parser.parse_args()
    check = Check(Prometheus(arguments.prometheus), arguments.deploy, None)
    if not (check.contract and check.rules and check.dashboards):
        sys.exit(f"{arguments.deploy} has no metrics.md, no rules or no dashboard")
    if arguments.expect_data is not None:
        every = {appears for _, _, appears in check.contract.values()}
        words = {word for word in arguments.expect_data.split(",") if word} or every
        if unknown := words - every:
            sys.exit(f"--expect-data: {', '.join(sorted(unknown))}: the words are {', '.join(sorted(every))}")
        check.words = words
    check.run()
    if arguments.target:
        check.target(get(arguments.target))
    for what in check.wrong:
        print(what)
    n_metrics = f", {len(check.contract)} metrics" if arguments.target else ""
    print(f"{check.n_asked} expressions{n_metrics}: {len(check.wrong)} wrong")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(f"{error}: are both addresses right, and does a server listen there?")
