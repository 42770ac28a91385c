"""Every sentence that a page may say, as a function of verdicts; None (or no sentence) where it may not be said.

Names, tasks and counts are arguments; what is claimed is not: it is read off `Verdict.verdict` and `Verdict.kind`.
`Show` writes a difference in its metric's unit with its sign ("+1.20 points"); pooled ones are percent of error.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from delrec_bench.statistics.paired import Estimate
from delrec_bench.statistics.pooled import Pooled
from delrec_bench.statistics.ranks import Rank
from delrec_bench.statistics.verdicts import POOLED, Verdict

Show = Callable[[float], str]

EXPLORATORY = "exploratory, not corrected for the number of comparisons"
LEARNING = "learning the delays"  # the question that the suite is there for
FURTHEST = math.log(100)  # of a prediction interval from end to end: what is wider foretells nothing


def finding(v: Verdict, method: str, control: str, show: Show) -> str:
    """One verdict in one sentence; "better", "no difference" and "worse" only where the verdict is that word."""
    where = f"Pooled over {plural(v.n, 'task')}" if v.task == POOLED else f"On {v.task}"
    said = {
        "better": f"{method} is better than {control}",
        "worse": f"{method} is worse than {control}",
        "equivalent": f"there is no difference between {method} and {control} beyond the margin{_margin(v, show)}",
        "open": f"{method} against {control} is not settled",
    }[v.verdict]
    tail = f"; {not_settled(v, show)}" if v.verdict == "open" else ""
    aside = f" ({EXPLORATORY})" if v.kind == "exploratory" else ""
    return f"{where}, {said}: {_numbers(v, show)}{tail}{aside}."


def answer(v: Verdict, helps: str, control: str) -> str | None:
    """The page's answer to its question: "Learning the delays helps against ...".

    Said of a pooled primary hypothesis alone; None of any other.

    Args:
        v: the verdict.
        helps: what is asked, as a subject in the singular: "learning the delays".
        control: against what; see `conditions.fixed_delays`.
    """
    if v.kind != "primary" or v.task != POOLED:
        return None
    subject = helps[0].upper() + helps[1:]
    numbers = f"{_numbers(v, percent_of_error)} over {plural(v.n, 'task')}"
    if v.verdict == "better":
        return f"{subject} helps against {control}: {numbers}."
    if v.verdict == "worse":
        return f"{subject} harms against {control}: {numbers}."
    if v.verdict == "equivalent":
        margin = _margin(v, percent_of_error)
        return f"{subject} makes no difference beyond the margin{margin} against {control}: {numbers}."
    return f"Whether {helps} helps against {control} is not settled: {numbers}; {not_settled(v, percent_of_error)}."


def not_settled(v: Verdict, show: Show) -> str:
    """Why an open verdict is open: what it lacks, or the smallest difference that the design could have seen.

    Raises:
        ValueError: the verdict is not open; nothing else may be told so.
    """
    if v.verdict != "open":
        raise ValueError(f"'{v.hypothesis}' on {v.task} is {v.verdict}, not open")
    if v.reason:
        return v.reason
    if v.detectable is None:
        return "the scores are the same in every repetition, and no margin was declared"
    return f"this design could have seen {_size(v, v.detectable, show)} with 80 percent power"


def further_task(found: Pooled) -> str | None:
    """Where the effect on a further such task is expected; None where fewer than three tasks were pooled.

    "Of either sign" only where the prediction interval holds 0; of one that is too wide to foretell anything, this.
    """
    if found.prediction is None:
        return None
    low, high = found.prediction
    sign = ", of either sign" if low <= 0 <= high else ""
    change = f"between {percent_of_error(low)} and {percent_of_error(high)}{sign}"
    if high - low > FURTHEST:
        return f"Of a further task these tell nothing: its 95 percent prediction interval lies {change}."
    return f"On a further task like these the error's change is expected {change} (95 percent prediction interval)."


def not_pooled(tasks: Sequence[str], found: Pooled) -> str | None:
    """Which of the tasks that a hypothesis is over are not in its pooled estimate; None where all are."""
    lacking = [task for task in tasks if task not in dict(found.weights)]
    are = "is" if len(lacking) == 1 else "are"
    return f"Of its tasks {listed(lacking)} {are} not pooled: no ratio of errors there." if lacking else None


def tasks_differ(v: Verdict, found: Pooled) -> str | None:
    """That the effect depends on the task: only where one effect of all tasks is ruled out at 5 percent.

    Of an open verdict also that repetitions are not what it lacks: where without end of them its interval would keep 95
    percent of its width, k se^2 being tau2 and what repetitions take away.
    """
    if found.homogeneity is None or found.homogeneity[1] >= 0.05 or found.estimate.se is None:
        return None
    q, p = found.homogeneity
    k = found.estimate.n
    degrees = plural(k - 1, "degree")
    text = f"The effect depends on the task: Q = {q:,.1f} on {degrees} of freedom, {_p(p)}."
    if v.verdict == "open" and (found.tau2 or 0.0) >= 0.95**2 * k * found.estimate.se**2:
        text += " More repetitions would hardly narrow the pooled interval; more tasks would."
    return text


def this_test_set(v: Verdict, crossed: Estimate, show: Show) -> str | None:
    """ "Of this test set alone": only of a better or worse whose interval over repetitions AND samples holds 0.

    None of any other verdict, and where that interval is unknown or excludes 0 too.

    Args:
        v: the verdict on one task, over repetitions.
        crossed: the same difference by `clusters.crossed`.
        show: writes a difference.
    """
    low, high = crossed.low, crossed.high
    if v.verdict not in ("better", "worse") or low is None or high is None or not low <= 0 <= high:
        return None
    interval = f"[{show(low)}, {show(high)}]"
    return f"On {v.task} this is known of this test set alone: over other samples too the interval is {interval}."


def tally(verdicts: Sequence[Verdict], show: Show) -> str | None:
    """How several verdicts on one scale fell; where all are open, that this is the design's doing. None of none."""
    if not verdicts:
        return None
    total = plural(len(verdicts), "comparison")
    counts = {w: sum(v.verdict == w for v in verdicts) for w in ("better", "worse", "equivalent", "open")}
    if counts["open"] < len(verdicts):
        return f"Of {total}: {listed([f'{n} {w}' for w, n in counts.items() if n])}."
    seen = [v for v in verdicts if v.detectable is not None]
    if not seen:
        why = list(dict.fromkeys(not_settled(v, show) for v in verdicts))
        return f"Of {total} none can be settled: {listed(why)}."
    ends = [f(seen, key=lambda v: v.detectable or 0.0) for f in (min, max)]
    low, high = (_size(v, v.detectable or 0.0, show) for v in ends)
    reach = low if low == high else f"between {low} and {high}"
    return f"Of {total} none is settled, which is no finding about the methods: the design could have seen {reach}."


def by_task(
    verdicts: Sequence[Verdict], method: str, control: str, told: Callable[[Verdict], str] = lambda v: v.task
) -> str | None:
    """How a pooled hypothesis fell on its tasks; None where none of them says anything.

    Args:
        verdicts: On the tasks.
        method, control: The rows.
        told: How a task is named; with its difference it says which way one falls that is within the margin.
    """
    words = {"better": "better", "worse": "worse", "equivalent": "within the margin", "open": "not settled"}
    tasks = {said: [told(v) for v in verdicts if v.verdict == w and v.task != POOLED] for w, said in words.items()}
    if not any(tasks[words[w]] for w in ("better", "worse", "equivalent")):
        return None
    said = [f"{what} on {listed(where)}" for what, where in tasks.items() if where]
    return f"Task by task {method} against {control} is {listed(said)} ({EXPLORATORY})."


def below_floor(floor: str, against: Mapping[str, Verdict]) -> str | None:
    """ "Below the method-free floor": only of the methods that are resolved worse than it; None where none is.

    Args:
        floor: its name.
        against: method -> its verdict against the floor, all on one task.
    """
    below = [method for method, v in against.items() if v.verdict == "worse"]
    if not below:
        return None
    are = "is" if len(below) == 1 else "are"
    return f"On {against[below[0]].task}, {listed(below)} {are} below the method-free floor {floor}."


def without_time(method: str, v: Verdict) -> str | None:
    """ "No evidence of using time": only where the verdict against the floor on COUNTS is worse or equivalent.

    A method above that floor, or not settled against it, is not spoken of; falling short of another floor (one that
    is given time slices) says nothing about using time.

    Args:
        method: its name.
        v: the method against logistic regression on counts per channel.
    """
    if v.verdict not in ("worse", "equivalent"):
        return None
    how = "worse than" if v.verdict == "worse" else "within the margin of"
    return f"On {v.task}, {method} is {how} what counts without time give: no evidence of using time."


def leaders(task: str, ranks: Sequence[Rank]) -> str | None:
    """Who may be first: all that nothing is resolved better than. "The best" only where that is one method of several.

    None with fewer than two methods.
    """
    if len(ranks) < 2:
        return None
    first = [r.method for r in ranks if r.first == 1]
    if len(first) == len(ranks):
        return f"On {task}, no method is told from the best."
    if len(first) > 1:
        return f"On {task}, nothing is resolved better than {listed(first)}, which are not all told apart."
    if next(r for r in ranks if r.first == 1).last == 1:
        return f"On {task}, {first[0]} is the best of {len(ranks)}."
    return f"On {task}, nothing is resolved better than {first[0]}."


def _numbers(v: Verdict, show: Show) -> str:
    if v.difference is None:
        return "no repetition in common"
    write = percent_of_error if v.task == POOLED else show
    text = f"error {write(v.difference)}" if v.task == POOLED else write(v.difference)
    if v.low is not None and v.high is not None:
        text += f" [{write(v.low)}, {write(v.high)}]"
    if v.task != POOLED:
        text += f", n = {v.n}"
    if v.p_holm is not None and v.verdict != "equivalent":  # it is of a difference from 0
        text += f", {_p(v.p_holm)}"
    return text


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def percent_of_error(log_ratio: float) -> str:
    """A log ratio of error as the change of the error, with its sign: -0.105 is "−10.0 %"."""
    text = f"{100 * math.expm1(log_ratio):+,.1f}"
    return ("0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")) + " %"


def either_way(size: float) -> str:
    """A size on the log scale as the two changes of the error that are so large: .4 is "−33.0 % or +49.2 %"."""
    return f"{percent_of_error(-size)} or {percent_of_error(size)}"


def _size(v: Verdict, size: float, show: Show) -> str:
    """A difference without its sign."""
    if v.task == POOLED:
        return f"a change of the error by {either_way(size)}"
    return f"a difference of {show(size).lstrip('+')}"


def _margin(v: Verdict, show: Show) -> str:
    if v.margin is None:
        return ""
    if v.task == POOLED:
        return f" of {either_way(v.margin)} of the error"
    return f" of {show(v.margin).lstrip('+')}"


def plural(n: int, word: str) -> str:
    """1 row, 2 rows."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def listed(items: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
