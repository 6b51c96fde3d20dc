"""Proves the checkers of prompts.jsonl, and scores recorded replies with them.

    python3 datasets/smoke/check.py                      # every reference passes its checker, "" fails it
    python3 datasets/smoke/check.py --replies FILE       # accuracy per tier and domain

The checkers are those of `tiercast judge`, written once more in Python and simpler: a second
opinion on the prompts, not the judge. Replies come from record.py.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

PROMPTS = Path(__file__).resolve().parent / "prompts.jsonl"
NUMBER = re.compile(r"(-\s?)?\$?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)")
STATEMENT = re.compile(r"(?i)####|\\boxed\s*\{|\banswer\b(?:[^.\n\d;]{0,60}?\bis\b|[*_\s]*[:=])")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replies", type=Path)
    arguments = parser.parse_args()
    prompts = lines(PROMPTS)
    prove(prompts)
    if arguments.replies:
        report({asked(prompt): prompt for prompt in prompts}, lines(arguments.replies))


def lines(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def prove(prompts: list) -> None:
    texts = [asked(prompt) for prompt in prompts]
    wrong = [f"twice: {text}" for text in sorted(set(texts)) if texts.count(text) > 1]
    for prompt in prompts:
        if not passes(as_reply(prompt), prompt):
            wrong.append(f"the reference fails its own checker: {asked(prompt)}")
        if passes("", prompt):
            wrong.append(f"an empty reply passes: {asked(prompt)}")
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"{len(prompts)} prompts: every reference passes its checker, and an empty reply fails it")


def asked(row: dict) -> str:
    """Key of a prompt, the same in both files."""
    return json.dumps(row.get("messages") or row["prompt"], ensure_ascii=False)


def as_reply(prompt: dict) -> str:
    reference = prompt["reference"]
    return reference if isinstance(reference, str) else json.dumps(reference)


def passes(reply: str, prompt: dict) -> bool:
    judges = prompt["judge"] if isinstance(prompt["judge"], list) else [prompt["judge"]]
    return all(CHECKERS[judge["kind"]](reply.strip(), prompt.get("reference"), judge) for judge in judges)


def numeric(reply: str, reference, judge: dict) -> bool:
    stated = [match.end() for match in STATEMENT.finditer(reply)]
    after = reply[stated[-1]:].lstrip().split("\n")[0].split(". ")[0] if stated else ""
    found = NUMBER.findall(after)
    chosen = (found[-1] if "=" in after else found[0]) if found else (NUMBER.findall(reply) or [None])[-1]
    if chosen is None:
        return False
    value = float(chosen[1].replace(",", "")) * (-1 if chosen[0] else 1)
    return abs(value - float(reference)) <= max(judge.get("tolerance", 0), 1e-9)


def exact_match(reply: str, reference, judge: dict) -> bool:
    words = lambda text: re.sub(r"\b(?:a|an|the)\b|[^\w\s]", " ", text.lower()).split()
    return words(reply) == words(str(reference))


def regex(reply: str, reference, judge: dict) -> bool:
    return re.search(judge["pattern"], reply) is not None


def json_schema(reply: str, reference, judge: dict) -> bool:
    found = None
    for start in (match.start() for match in re.finditer(r"\{", reply)):
        try:
            value, end = json.JSONDecoder().raw_decode(reply[start:])
        except ValueError:
            continue
        found = max(found or (0, None), (end, value), key=lambda pair: pair[0])
    if found is None or not satisfies(found[1], judge["schema"]):
        return False
    return not judge.get("compare") or same(found[1], reference)


def satisfies(value: dict, schema: dict) -> bool:
    """The part of JSON schema that prompts.jsonl uses: flat objects with typed values."""
    properties = schema["properties"]
    if set(schema["required"]) - set(value) or set(value) - set(properties):
        return False
    return all(type(value[key]) in TYPES[property["type"]] for key, property in properties.items())


def same(found: dict, reference: dict) -> bool:
    """Equal, where true is not 1 and 1.0 is 1."""
    return found == reference and all(isinstance(found[key], bool) == isinstance(reference[key], bool) for key in found)


TYPES = {"string": [str], "integer": [int], "number": [int, float], "boolean": [bool], "array": [list]}
CHECKERS = {"numeric": numeric, "exact_match": exact_match, "regex": regex, "json_schema": json_schema}


def report(prompts: dict, replies: list) -> None:
    """A reply that was cut counts as wrong: it is never judged as if whole."""
    scores, cut, output = defaultdict(list), defaultdict(int), defaultdict(int)
    for reply in replies:
        prompt, tier = prompts[asked(reply)], reply["model"]
        whole = reply["finish_reason"] == "stop"
        for domain in (prompt["domain"], "all"):
            scores[tier, domain].append(whole and passes(reply["text"], prompt))
        cut[tier] += not whole
        output[tier] += reply["completion_tokens"]
    domains = sorted({domain for _, domain in scores})
    print("| tier | cut | output tokens | " + " | ".join(domains) + " |")
    print("| --- " * (len(domains) + 3) + "|")
    for tier in sorted(cut, key=lambda tier: output[tier]):
        shares = [f"{sum(scores[tier, domain]) / len(scores[tier, domain]):.2f}" for domain in domains]
        print(f"| {tier} | {cut[tier]} | {output[tier]} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    main()
