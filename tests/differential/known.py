"""Differences that are Prometheus 3.14's own doing, so that a run shows none that is not explained.

Each has a pattern of expressions, the verdicts that it explains, the reason, and where possible a proof: a comparison that
leaves out just what the fault may change, or another query on which both servers have to agree.  docs/differences.md says
the same to users.
"""
import re
from typing import Any, Callable, NamedTuple, Optional, Tuple


class Case(NamedTuple):
    """A difference to be explained."""

    query: str
    verdict: str
    ref: Any  # the reference's Resp
    test: Any
    comparison: Any
    agree: Callable[[str], bool]  # do both answer another query alike, with data, at the same times?


class Known(NamedTuple):
    name: str
    verdicts: Tuple[str, ...]
    pattern: Any
    reason: str
    holds: Optional[Callable[[Case], bool]] = None


STRING = re.compile(r"""\"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`""")


def explained(case):
    """The first entry that explains the difference, or None.  Patterns need not care for what stands in quotes."""
    plain = STRING.sub('""', case.query)
    for known in KNOWN:
        if case.verdict in known.verdicts and (known.pattern.search(plain) or known.pattern.search(case.query)):
            if known.holds is None or known.holds(case):
                return known
    return None


def notes_without(pattern, rest=""):
    """Warnings and infos are the same once only `rest` of what matches `pattern` is left in each."""

    def holds(case):
        def notes(resp, key):
            return {re.sub(pattern, rest, note) for note in resp.json.get(key) or []}

        return all(notes(case.ref, key) - {""} == notes(case.test, key) - {""} for key in ("warnings", "infos"))

    return holds


REST_OF_BRACES = r"""(?:[^{}"'`]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)*\}"""
SELECTOR = re.compile(
    r"""(?P<function>\b(?:first|last|sum|avg)_over_time\()?
    (?:(?<!["'`])\bdemo_(?:nh\w*|mixed)\b(?:\{"""
    + REST_OF_BRACES
    + r""")?|\{(?:__name__=)?"demo_(?:nh\w*|mixed)"\s*(?:,|(?=\}))"""
    + REST_OF_BRACES
    + r""")
    (?P<range>\[[^\[\]]*\])?
    (?:\s+(?:smoothed|anchored)|\s+offset\s+[^\s()]+|\s+@\s+(?:start\(\)|end\(\)|[\d.]+))*(?P<close>\))?""",
    re.X,
)


def compacted(query):
    """The query with every histogram multiplied by 1, which leaves out its empty buckets."""

    def one(found):
        text = found.group()
        if bool(found["range"]) != bool(found["function"]):
            return text
        close = found["close"] or ""
        return "(%s * 1)" % text if found["function"] else "(%s * 1)%s" % (text[: len(text) - len(close)], close)

    return SELECTOR.sub(one, query)


def empty_buckets(case):
    other = compacted(case.query)
    return other != case.query and case.agree(other)


def without_zeros(text):
    """Numbers in it without leading zeros: what 3.14 takes for equal."""
    return re.sub(r"\d+", lambda digits: digits.group().lstrip("0") or "0", text)


def no_order(case):
    """The same order as far as there is one: up to the first label with values that come before each other."""
    arguments = re.search(r'((?:,\s*"(?:\\.|[^"\\])*"\s*)*)\)\s*$', case.query)
    labels = re.findall(r'"((?:\\.|[^"\\])*)"', arguments[1]) if arguments else []
    ref, test = ([s["metric"] for s in side.json["data"]["result"]] for side in (case.ref, case.test))
    for i, label in enumerate(labels):
        values = {metric.get(label, "") for metric in ref}
        numbers = {without_zeros(value) for value in values}
        if len(numbers) < len(values) or ("" in values and len(values) > 1):
            keys = [[[m.get(l, "") for l in labels[:i]] for m in side] for side in (ref, test)]
            if "" not in values:
                keys = [[k + [without_zeros(m[label])] for k, m in zip(*x)] for x in zip(keys, (ref, test))]
            return keys[0] == keys[1]
    return False


def types_that_do_not_mix(case):
    """Both found that as well, and when it is found decides what else is said."""
    mixed = lambda resp: any("mix of" in note for note in resp.json.get("warnings") or [])
    rest = notes_without(r"PromQL info: mismatched custom buckets were reconciled during aggregation \(.*\)")
    return mixed(case.ref) and mixed(case.test) and rest(case)


def order_of_addition(case):
    """Nearly equal, or put to where the last bits matter."""
    if re.search(r"%|\b(sin|cos|tan|floor|ceil|round|count_values|sgn)\b|==|!=|[<>]", case.query):
        return True
    near = type(case.comparison)(1e-5, case.comparison.annotations)
    return near.data(case.ref.json["data"], case.test.json["data"]) is None


def amplified(case):
    """A last bit of a sum, as far as an angle makes it count."""
    near = type(case.comparison)(1e-9, case.comparison.annotations)
    return near.data(case.ref.json["data"], case.test.json["data"]) is None


def same_labels(case):
    """The one that fails has found two series to be the same, without their names."""
    texts = [resp.json.get("error", "") for resp in (case.ref, case.test) if resp.status != 200]
    return texts == ["vector cannot contain metrics with the same labelset"]


def wider(case):
    """Once the query has a selector that looks back further."""
    return case.agree(f"({case.query}) and on () (count(target_info) or vector(1))")


KNOWN = [
    Known(
        "samples of repaired histograms",
        ("annotation",),
        re.compile(r"\bhistogram_(quantiles?|fraction)\b"),
        "the number of samples in the info about repaired classic histograms doubles with each step",
        notes_without(r"over \d+ samples"),
    ),
    Known(
        "timestamp without offset",
        ("value", "error"),
        re.compile(r"\btimestamp\s*\([^()]*(offset[^()]*@|@[^()]*(\(\))?[^()]*offset)"),
        "timestamp() of a selector with @ and offset forgets the offset: other times, or nothing where an operator then finds an error",
    ),
    Known(
        "empty buckets",
        ("value",),
        SELECTOR,
        "which empty buckets a stored histogram has depends on how chunks were cut; 0 * NaN, 0 / 0 and ranks of negative "
        "counts show them",
        empty_buckets,
    ),
    Known(
        "order of labels",
        ("order",),
        re.compile(r"^\s*sort_by_label"),
        "sort_by_label takes 0.25 to come before 0.025 and 0.025 before 0.25, and no value likewise, so that the order is that "
        "of the algorithm",
        no_order,
    ),
    Known(
        "order of addition",
        ("value",),
        re.compile(r"\b(stddev|stdvar)\b"),
        "deviations are added up in the order of the series, which is not defined, and cancel out",
        order_of_addition,
    ),
    Known(
        "order of addition, amplified",
        ("value",),
        re.compile(r"\b(sin|cos|tan)\s*\([^()]*\b(sum|avg)\b"),
        "sums and averages are added up in the order of the series, which is not defined: the last bit of a large angle is more "
        "than the last bit of its sine",
        amplified,
    ),
    Known(
        "choice of limitk",
        ("error",),
        re.compile(r"\blimitk\b"),
        "which series limitk takes is not defined; with delayed name removal two that it takes may then be the same",
        same_labels,
    ),
    Known(
        "types of one pair of many",
        ("annotation",),
        re.compile(r"[-+*/%^<>=]|\batan2\b"),
        "of samples of incompatible types an info names those of one pair, and which depends on the order of the series",
        notes_without(r'(binary operator "[^"]*"): \w+ \S+ \w+', r"\1"),
    ),
    Known(
        "mixed buckets in an aggregation",
        ("annotation",),
        re.compile(r"\b(sum|avg)\b"),
        "once exponential and custom buckets have met, a group is no longer added up, and when they meet depends on the order of "
        "the series",
        types_that_do_not_mix,
    ),
    Known(
        "absent label with two matchers",
        ("value",),
        re.compile(r"\babsent(_over_time)?\s*\([^()]*\b(\w+)(!=|!~)[^()]*\b\2="),
        "finding series puts the selector's matchers into another order, from which absent() then makes its labels",
    ),
    Known(
        "info series before the query's range",
        ("value",),
        re.compile(r"\binfo\s*\("),
        "info() finds no samples before the earliest that the query's own selectors may read, so that a short range of one "
        "hides info series",
        wider,
    ),
]
