"""Sentences on what stands behind a row: its data, parameters, delays, and what was chosen with what in sight."""

from collections.abc import Mapping, Sequence

from delrec_bench.statistics.sentences import listed, plural

SAME_DELAYS = "the same delays left fixed"


def fixed_delays(
    widths: tuple[Sequence[int], Sequence[int]],
    delays: tuple[int, int],
    sigma: tuple[float | None, float | None] = (None, None),
) -> str:
    """What a control with fixed delays is: "the same delays left fixed" only at equal widths and delay counts.

    Args:
        widths: neurons a layer, of the method and of the control.
        delays: how many delays each has.
        sigma: each one's spread over time when training begins, where it has any: a control without the spread differs
            by more than that its delays are fixed.
    """
    ours, theirs = (list(w) for w in widths)
    if ours == theirs and delays[0] == delays[1]:
        ours_sigma, theirs_sigma = (value or 0.0 for value in sigma)
        other = f" (sigma {theirs_sigma:g}, not {ours_sigma:g})" if ours_sigma != theirs_sigma else ""
        return f"{SAME_DELAYS}{other}"
    return f"a network of {theirs} with {delays[1]:,} fixed delays (its own: {ours} with {delays[0]:,})"


def parameters(counts: Mapping[str, int], budget: int, tolerance: float = 0.05) -> str:
    """ "10,000 parameters" only where every method is within the tolerance of it; otherwise the range there is."""
    if not counts:
        raise ValueError("parameters of no method were asked for")
    if all(abs(n - budget) <= tolerance * budget for n in counts.values()):
        return f"{budget:,} parameters, within {100 * tolerance:.0f} percent"
    least, most = min(counts, key=lambda m: counts[m]), max(counts, key=lambda m: counts[m])
    return f"{counts[least]:,} ({least}) to {counts[most]:,} ({most}) parameters"


def scored_once(presets_chosen_on: str, by_hand: Sequence[str] = ()) -> str:
    """ "The test set was scored once" as a claim of no selection on it only where the presets were chosen without it.

    Args:
        presets_chosen_on: "validation", "published" (taken from a paper as it is), "test" or "unknown".
        by_hand: Settings that the study puts in the presets' place.

    Raises:
        ValueError: another word.
    """
    once = "Each run scored the test set once, after training"
    said = {
        "validation": f"{once}; its presets were chosen on validation data alone.",
        "published": f"{once}; its presets are the published ones, whose selection stands beside them.",
        "unknown": (
            f"{once}; some settings are of a study's or a method's own file, and what those were chosen on is not on "
            "record."
        ),
        "test": f"{once}, but its presets were chosen with test scores in sight: they may be too good.",
    }
    if presets_chosen_on not in said:
        raise ValueError(f"presets chosen on '{presets_chosen_on}': say one of {', '.join(said)}")
    if not by_hand or presets_chosen_on == "unknown":
        return said[presets_chosen_on]
    return f"{said[presets_chosen_on]} In their place the study's file sets {listed(list(by_hand))} by hand."


def test_selected(rows: Sequence[str]) -> str:
    """That the test set chose the epoch of some rows, which are no results: the page shows what that gains."""
    return (
        f"NO RESULT: the test set was scored after every epoch and chose the epoch of {listed(list(rows))}, as in many "
        "a published table; what these rows gain by it is what this page shows. All other rows scored it once, after "
        "training."
    )


SCORED_ANEW = (
    "Rows under a condition, lesion or deployment were not trained for it: they are the trained networks of the row "
    "without it, scored once more."
)

MOST_NAMED = 6
"""Rows that a sentence names; of more it says how many."""

NO_PRIMARY = (
    "No hypothesis was declared before these runs: everything here is exploratory, and settles nothing by itself."
)


def not_judged(method: str, control: str, reason: str) -> str:
    """Why the declared hypothesis has no verdict yet."""
    return f"The declared hypothesis, {method} against {control}, cannot be judged yet: {reason}."


def shown_only(tasks: Sequence[str], most: int, limit: int) -> str | None:
    """ "Shown, not compared": only of tasks of which no row has more repetitions than the limit.

    Args:
        tasks: Their names.
        most: Repetitions of the row that has most.
        limit: Up to how many are shown only.
    """
    if not tasks or not 0 < most <= limit:
        return None
    there = "there is" if most == 1 else "there are"
    return f"On {listed(list(tasks))} {there} {plural(most, 'repetition')} a method: shown, not compared."


def without_scores(tasks: Sequence[str], methods: int) -> str:
    """What a page without a scored run is."""
    if not tasks:
        return "There is no record yet: nothing can be said."
    return f"Size, latency and published scores of {plural(methods, 'method')} on {listed(tasks)}; none is scored here."


def incomplete(there: int, asked: int, lacking: Sequence[str]) -> str | None:
    """That runs are lacking, and of which rows; None of a complete page."""
    if there == asked:
        return None
    few = [*lacking[:MOST_NAMED], *([f"{len(lacking) - MOST_NAMED} more"] if len(lacking) > MOST_NAMED else [])]
    return (
        f"This page is not complete: {there:,} of {plural(asked, 'run')} are there. What is not there is not judged: "
        f"runs of {listed(few)} are lacking, not done yet or failed."
    )


def diverged(runs: Mapping[str, tuple[int, int]], trained: int) -> str | None:
    """That runs have no score since their training left the finite numbers, and what that does to their rows.

    Args:
        runs: Of each row that lost some how many it lost, and how many it had.
        trained: Runs of the page, without floors, which cannot diverge.
    """
    if not runs:
        return None
    of = listed([f"{lost:,} of {had:,} of {row}" for row, (lost, had) in runs.items()])
    count = sum(lost for lost, _ in runs.values())
    gone = [row for row, (lost, had) in runs.items() if lost == had]
    nothing = f" Nothing is left of {listed(gone)}." if gone else ""
    flattered = (
        " A row is of its runs that ended: that flatters the rows that lost some, in every comparison too."
        if len(gone) < len(runs)
        else ""
    )
    have = "has" if count == 1 else "have"
    return f"{count:,} of {plural(trained, 'trained run')} diverged and {have} no score: {of}.{nothing}{flattered}"


def without_place(task: str, rows: Sequence[str], limit: int) -> str | None:
    """That rows of few repetitions are not ranked among those of more; None where there are none.

    Args:
        task: Its name.
        rows: Those rows.
        limit: Up to how many repetitions are shown only.
    """
    if not rows:
        return None
    have = "has" if len(rows) == 1 else "have"
    return f"On {task}, {listed(list(rows))} {have} no place: up to {limit} repetitions are shown, not compared."


TIMED = "Times are of "


def timed(
    threads: Sequence[int], revisions: Sequence[str], batches: Mapping[int, Sequence[str]], loops: Sequence[str],
    drawn: bool,
) -> str:  # fmt: skip
    """What latencies were measured of, and with what.

    Args:
        threads: How many; of several measurements all.
        revisions: Of the code.
        batches: Samples of a step -> which rows; the commonest size first, whose rows are all but the others'.
        loops: Rows whose training runs in a loop over time in Python, by no compiled engine.
        drawn: Whether inputs were drawn at the task's shape and rate.
    """
    several = listed([plural(n, "thread") for n in threads]) if threads else "threads that are not on record"
    said = [f"{TIMED}{several}, by the code of {listed(list(revisions))}"]
    said += ["inputs are drawn at the task's shape and rate: no data of the task was used (DRAWN)"] if drawn else []
    first, *others = list(batches) or [0]
    apart = "".join(f", {size:,} of {listed(list(batches[size]))}" for size in others)
    said += [f"a step is of {first:,} samples{apart}"] if first else []
    if loops:
        said.append(f"trained by no compiled engine but by a loop over time in Python: {listed(list(loops))}")
    return "; ".join(said) + "."


def at_chance(task: str, methods: Sequence[str], share: float) -> str | None:
    """Which methods are not told from answering the most frequent class always; None where each is.

    Args:
        task: Its name.
        methods: Those whose interval reaches down to that.
        share: How much of the test set is of that class.
    """
    if not methods:
        return None
    few = [*methods[:MOST_NAMED], *([f"{len(methods) - MOST_NAMED} more"] if len(methods) > MOST_NAMED else [])]
    are = "is" if len(methods) == 1 else "are"
    return (
        f"On {task}, {listed(few)} {are} not told from chance: the most frequent class alone is right in "
        f"{100 * share:.1f} percent. No comparison with such a score says how well delays work."
    )


def narrowed(options: Sequence[str]) -> str:
    """That the page is not the one that its study declares."""
    return f"This is not the page that its study declares: it was made with {listed(list(options))}."


def revisions(names: Sequence[str]) -> str | None:
    """That the records were made by several states of the code, or by one with uncommitted changes; else None."""
    said = []
    if len(names) > 1:
        said.append(f"The records were made by {len(names)} revisions of the code: {listed(list(names))}.")
    if any(name.endswith("+dirty") for name in names):
        said.append("Some of the code had uncommitted changes when it made them (+dirty).")
    return " ".join(said) or None


def best_at_the_end(trained: Sequence[tuple[str, int, Sequence[float]]]) -> str | None:
    """That epochs, not methods, may have set scores: of tasks where in the median row a quarter of the runs or more,
    and more than by chance, were best at their last epoch; None where there are none.

    Args:
        trained: (task, epochs, row by row the share of runs whose last epoch was the best).
    """
    told: list[str] = []
    for task, epochs, shares in trained:
        if shares and sorted(shares)[len(shares) // 2] > max(0.2499, 1 / epochs):
            least, most = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
            span = f"{least} to {most} percent" if least != most else f"{least} percent"
            of = "" if told else " of a row's runs"
            told.append(f"{span}{of} on {task} ({epochs} epochs, {100 / epochs:.0f} by chance)")
    return (
        f"The last epoch was the best in {listed(told)}: with more, scores and places may be others." if told else None
    )


def coarse_margin(task: str, shown: str, margin: float, method: str, error: float) -> str | None:
    """That "equivalent" on a task may hide much: where its margin is a quarter or more of a row's error; else None.

    Args:
        task: Its name.
        shown, margin: The margin as people read it, and in the unit of the error.
        method, error: The row, and its mean error.
    """
    if error <= 0 or margin < 0.25 * error:
        return None
    return (
        f"On {task} the margin of {shown.lstrip('+')} is {100 * margin / error:.0f} percent of the error of {method}: "
        "what is equivalent there may still differ much in error."
    )


def differing(task: str, what: str, values: Sequence[str]) -> str | None:
    """That the rows of a task do not share a condition; None where they do."""
    return f"On {task} the rows differ in {what}: {listed(list(values))}." if len(values) > 1 else None
