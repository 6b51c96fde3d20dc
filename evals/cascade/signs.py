"""Signs of a reply, as crates/predictor/src/answers makes them but for details of reading text."""

import math
import re
from collections import Counter

NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
SAID = {word: float(at) for at, word in enumerate(UNITS.split())}
SAID |= dict(thirty=30, forty=40, fifty=50, sixty=60, seventy=70, eighty=80, ninety=90, hundred=100, thousand=1e3, million=1e6)
SAID |= dict(dozen=12, half=0.5, halves=0.5, twice=2, double=2, doubles=2, doubled=2, triple=3, triples=3, tripled=3, thrice=3)
SAID |= dict(third=1 / 3, thirds=1 / 3, fourth=0.25, quarter=0.25, quarters=0.25, fifth=0.2, tenth=0.1)
SUGGESTED = dict(one=1, once=1, both=2, couple=2, pair=2, week=7, weeks=7, weekly=7, year=12, years=12, day=24, hour=60, hours=60, minute=60, minutes=60)
COMMON = (1, 2, 100, 0.5, 10, 60, 24, 7, 12)
TOKEN = re.compile(
    r"\s*(?:(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(%?)"
    r"|(\\?\*|\\times|\\cdot|×|x|X|÷|/|\+|-|−|–|\(|\)|of\b)|([$£€]))"
)
SIGN = {"\\*": "*", "\\times": "*", "\\cdot": "*", "×": "*", "x": "*", "X": "*", "of": "*", "÷": "/", "−": "-", "–": "-"}
LEFT = re.compile(r"(?:[\d.,\s$£€%*/+\-−–×÷()\\]|\bx\b|(?<=\d)x|\bX\b|\bof\b|times|cdot)*$")
RIGHT = re.compile(r"(?:[\d.,\s$£€%*/+\-−–×÷()\\]|x\b)*")
MARKERS = [r"####\s*(.{0,60})", r"\\boxed\{(.{0,60})", r'"answer"\s*:\s*"?(.{0,60})', r"(?i)answer is:?\s*(.{0,60})", r"(?i)answer:\s*(.{0,60})"]
GROUPS = {
    "concessions": "however but actually wait sorry mistake apologize unfortunately though although",
    "assumptions": "assume assuming assumed since if let suppose same",
    "ignorance": "cannot can not unclear unknown impossible specify specified enough information insufficient none unable",
    "rounding": "round rounded rounding approximately about roughly nearly estimate closest",
    "conclusions": "therefore thus so hence total finally",
}


def key(value):
    return round(value, 4)


def read_number(text):
    return min(float(text.replace(",", "")), 1e14)


def numbers(text):
    return [read_number(found.group()) for found in NUMBER.finditer(text)]


def given(question):
    """Numbers of a question: in digits; said; with the suggested."""
    digits = {key(value) for value in numbers(question)}
    words = re.findall(r"[a-z]+", question.lower())
    said = digits | {key(SAID[word]) for word in words if word in SAID and word != "one"}
    return digits, said, said | {key(SUGGESTED[word]) for word in words if word in SUGGESTED}


def tokens(text):
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match or match.end() == at:
            return None
        if match.group(1):
            value = read_number(match.group(1))
            found.append(value / 100 if match.group(2) else value)
        elif match.group(3):
            found.append(SIGN.get(match.group(3), match.group(3)))
        at = match.end()
    return found


def parse(toks, at, depth=0):
    """(value, next position, operands, operations), or None."""

    def factor(at):
        if at >= len(toks) or depth > 8:
            return None
        token = toks[at]
        if token == "-":
            inner = factor(at + 1)
            return inner and (-inner[0], *inner[1:])
        if token == "(":
            inner = parse(toks, at + 1, depth + 1)
            closes = inner and inner[1] < len(toks) and toks[inner[1]] == ")"
            return (inner[0], inner[1] + 1, *inner[2:]) if closes else None
        return (token, at + 1, [token], []) if isinstance(token, float) else None

    def chain(at, read, operations):
        left = read(at)
        while left and left[1] < len(toks) and toks[left[1]] in operations:
            sign = toks[left[1]]
            right = read(left[1] + 1)
            if not right:
                return left
            if sign == "/" and right[0] == 0:
                return None
            value = {"+": left[0] + right[0], "-": left[0] - right[0], "*": left[0] * right[0]}.get(sign)
            value = left[0] / right[0] if sign == "/" else value
            left = (value, right[1], left[2] + right[2], left[3] + right[3] + [sign])
        return left

    return chain(at, lambda at: chain(at, factor, ("*", "/")), ("+", "-"))


def equations(reply):
    """(left as of `parse` or None, right value, whether the right is a percentage) in order."""
    found = []
    for match in re.finditer(r"(?<![=<>!:])=(?![=>])", reply):
        left = LEFT.search(reply[max(0, match.start() - 100) : match.start()]).group().strip()
        left = re.split(r"[.,]\s|\n", left)[-1] if left else ""
        right = RIGHT.match(reply[match.end() : match.end() + 60]).group()
        right = re.split(r"[.,]\s|\n", right)[0].rstrip(".,")
        toks = tokens(right) if right.strip() else None
        if toks is None:
            toks = numbers(right)[:1]
        result = parse(toks, 0)
        if not result or not abs(result[0]) < 1e14:
            continue
        toks, whole = tokens(left) or [], None
        for start in range(len(toks)):
            tried = parse(toks, start)
            if tried and tried[1] == len(toks):
                whole = tried if tried[3] and abs(tried[0]) < 1e14 else None
                break
        found.append((whole, result[0], right.rstrip().endswith("%")))
    return found


def conclusion(reply):
    """(kind, text or None, where it starts)."""
    for kind, marker in enumerate(MARKERS):
        found = list(re.finditer(marker, reply))
        if found:
            return kind, found[-1].group(1), found[-1].start()
    return len(MARKERS), None, len(reply)


def concluded_number(reply):
    _, text, at = conclusion(reply)
    if text is None:
        return (numbers(reply[:at]) or [None])[-1], False
    match = re.search(r"-?\s?[$£€]?\s?(" + NUMBER.pattern + ")", text)
    if not match:
        return None, False
    value = read_number(match.group(1))
    plain = len(text.strip().strip('".}*$')) <= len(match.group()) + 2
    return (-value if match.group().startswith("-") else value), plain


def work_signs(found, said, suggested, final):
    counts, operations, operands = Counter(), Counter(), Counter()
    results, used, depths, known = [], set(), {}, set()
    for left, right, percent in found:
        counts["equations"] += 1
        if left is None:
            counts["unread"] += 1
        else:
            counts["read"] += 1
            difference = min(abs(left[0] - right), abs(left[0] - 100 * right) if percent else math.inf)
            if difference > 1e-6 * max(1, abs(right)):
                near = difference <= 0.02 * abs(right) or (difference <= 0.5 and right == int(right))
                counts["rounded" if near else "wrong"] += 1
            operations.update(left[3])
            depth = 0
            for operand in left[2]:
                operands[key(operand)] += 1
                if key(operand) in known:
                    counts["from_results"] += 1
                    used.add(key(operand))
                    depth = max(depth, depths.get(key(operand), 0))
                elif key(operand) in suggested or key(operand * 100) in suggested:
                    counts["from_question"] += 1
                elif operand not in COMMON:
                    counts["unsupported"] += 1
            depths[key(right)] = depth + 1
        counts["repeated"] += key(right) in known
        known.add(key(right))
        results.append(right)
        counts["fractional"] += right != int(right)
        counts["negative"] += right < 0
    counts["dangling"] = len([r for r in known if r not in used and (final is None or r != key(final))])
    counts["not_used"] = len([s for s in said if not {s, key(s / 100), key(s * 100)} & set(operands)])
    counts["used_again"] = sum(n - 1 for operand, n in operands.items() if operand in said)
    names = "equations read unread wrong rounded fractional negative unsupported from_question from_results repeated dangling not_used used_again"
    signs = {name: math.log1p(counts[name]) for name in names.split()}
    signs |= {f"operation_{name}": math.log1p(operations[sign]) for name, sign in (("add", "+"), ("subtract", "-"), ("multiply", "*"), ("divide", "/"))}
    signs["any_wrong"] = float(counts["wrong"] > 0)
    signs["wrong_ratio"] = counts["wrong"] / max(1, counts["read"])
    signs["unsupported_ratio"] = counts["unsupported"] / max(1, operands.total())
    signs["dangling_ratio"] = counts["dangling"] / max(1, len(known))
    signs["not_used_ratio"] = counts["not_used"] / max(1, len(said))
    signs["depth"] = min(20, max(depths.values(), default=0))
    if final is not None:
        signs["concluded_last_result"] = float(bool(results) and key(results[-1]) == key(final))
        signs["concluded_a_result"] = float(key(final) in known)
        signs["concluded_largest"] = float(bool(results) and final >= max(results))
        signs["concluded_smallest"] = float(bool(results) and final <= min(results))
    return signs


def text_signs(question, reply):
    words, asked = re.findall(r"\w+", reply.lower()), re.findall(r"\w+", question.lower())
    shared, lower = set(words) & set(asked), question.lower()
    quotations = re.findall(r"[\"']([^\"'\n]{1,60})[\"']", reply)
    signs = {
        "bytes": math.log1p(len(reply)),
        "words": math.log1p(len(words)),
        "lines": math.log1p(reply.count("\n")),
        "sentences": math.log1p(len(re.findall(r"[.!?](?:\s|$)", reply))),
        "length_ratio": math.log1p(len(words)) - math.log1p(len(asked)),
        "unique": len(set(words)) / max(1, len(words)),
        "repetition": 1 - len(set(zip(words, words[1:], words[2:]))) / max(1, len(words) - 2) if len(words) > 2 else 0,
        "longest_line": math.log1p(max(map(len, reply.split("\n")))),
        "overlap": len(shared) / max(1, len(set(asked))),
        "novel_words": len(set(words) - shared) / max(1, len(set(words))),
        "ends": float(reply.rstrip()[-1:] in tuple(".!?)]}\"'`0123456789")),
        "digits": sum(c.isdigit() for c in reply) / max(1, len(reply)),
        "calls": math.log1p(len(re.findall(r"\w\(", reply))),
        "unbalanced": float(any(reply.count(a) != reply.count(b) for a, b in ("()", "[]", "{}"))),
        "quotations": math.log1p(len(quotations)),
        "novel_quotations": sum(q.lower() not in lower for q in quotations) / max(1, len(quotations)),
        "novel_names": math.log1p(len({n for n in re.findall(r"[A-Z][a-z]+", reply) if n.lower() not in set(asked)})),
        "question_words": math.log1p(len(asked)),
        "question_sentences": math.log1p(len(re.findall(r"[.!?](?:\s|$)", question))),
    }
    signs |= {f"mark_{ord(c)}": math.log1p(reply.count(c)) for c in "=?$%`\\(/<"}
    return signs | {name: math.log1p(sum(words.count(w) for w in group.split())) for name, group in GROUPS.items()}


def option_signs(question, reply, before):
    options = dict(re.findall(r"(?m)^\(?([A-J])[.):] ?(.*)$", question))
    if not options:
        return {}
    letter = re.search(r"\b([A-J])\b", conclusion(reply)[1] or "")
    letter = letter and letter.group(1)
    lower, text = reply.lower(), options.get(letter, "").strip().lower()
    others = [other.strip().lower() for name, other in options.items() if name != letter]
    value = (numbers(text) or [None])[0]
    found = value is not None and any(abs(x - value) <= 0.005 * abs(value) for x in before[-4:])
    return {
        "options": math.log1p(len(options)),
        "option_named": float(letter is not None),
        "option_exists": float(letter in options),
        "option_position": ord(letter) - 64 if letter else 0,
        "option_quoted": float(bool(text) and text in lower),
        "other_options_quoted": sum(bool(o) and o in lower for o in others) / max(1, len(others)),
        "option_numeric": float(value is not None),
        "option_number_found": float(found),
        "option_number_missing": float(value is not None and not found),
        "option_longest": float(letter in options and len(text) == max(len(o.strip()) for o in options.values())),
        "option_all_or_none": float("none of" in text or "all of" in text),
    }


def signs(question, reply):
    """Name to figure; a sign that does not apply is absent and counts as 0."""
    reply = reply[:24_000] + reply[24_000:][-8_000:]
    digits, said, suggested = given(question)
    kind, _, at = conclusion(reply)
    final, plain = concluded_number(reply)
    before = numbers(reply[:at])
    distinct = {key(value) for value in before}
    unmentioned = [s for s in said if not {s, key(s / 100), key(s * 100)} & distinct]
    found = text_signs(question, reply) | work_signs(equations(reply), said, suggested, final) | option_signs(question, reply, before)
    found |= {f"marked_{n}": float(kind == n) for n in range(len(MARKERS) + 1)}
    found |= {
        "concludes_plainly": float(plain),
        "concludes_number": float(final is not None),
        "given": math.log1p(len(said)),
        "suggested": math.log1p(len(suggested) - len(said)),
        "numbers": math.log1p(len(before)),
        "distinct_numbers": math.log1p(len(distinct)),
        "unmentioned": math.log1p(len(unmentioned)),
        "unmentioned_ratio": len(unmentioned) / max(1, len(said)),
        "all_mentioned": float(not unmentioned),
        "novel_numbers": math.log1p(len(distinct - digits)),
        "novel_numbers_ratio": len(distinct - digits) / max(1, len(distinct)),
    }
    if final is not None:
        found |= {
            "concluded": math.log10(1 + abs(final)),
            "concluded_integer": float(final == int(final)),
            "concluded_negative": float(final < 0),
            "concluded_zero": float(final == 0),
            "concluded_one": float(abs(final) == 1),
            "concluded_tens": float(final != 0 and final % 10 == 0),
            "concluded_given": float(key(final) in said),
            "concluded_to_given": math.log10((1e-3 + abs(final)) / (1e-3 + max(said, default=1))),
            "concluded_last_number": float(bool(before) and key(before[-1]) == key(abs(final))),
        }
    return found
