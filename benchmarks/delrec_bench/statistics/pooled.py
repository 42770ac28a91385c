"""Several tasks on one scale: the log ratio of error, by random effects for few studies.

Of a method with error e and its control with error c (1 - accuracy, or NMSE) at one repetition, the effect is
ln(e / c): negative is better, -0.1 is about 10 percent less error. Tasks are then the studies of a meta-analysis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from delrec_bench.errors import BenchError
from delrec_bench.statistics.paired import LEVEL, Estimate, paired


@dataclass(frozen=True)
class TaskErrors:
    """One task's errors, paired by repetition.

    Attributes:
        task: its name.
        method: (n,) errors: 1 - accuracy, or NMSE.
        control: (n,) errors of the control at the same repetitions.
        samples: test samples behind each error that is a proportion; None for NMSE.
        margin: the task's margin in its own unit (a fraction for accuracy); None declares none.
    """

    task: str
    method: Sequence[float]
    control: Sequence[float]
    samples: int | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Pooled:
    """The pooled log ratio of error.

    Attributes:
        estimate: of the mean over tasks like these; n = k tasks, df = k - 1.
        tau2: variance of the true effect between tasks (Paule-Mandel), None below two tasks.
        prediction: where the effect on a further such task lies, at the same level; None below three tasks.
        margin: the tasks' margins on the log scale, weighted as the effects are; None where a task has none.
        weights: (task, weight), summing to 1.
        left_out: (task, reason) of what could not be pooled.
        repetitions: of the task that has fewest; None where nothing was pooled.
        homogeneity: Cochran's Q and its p, that all tasks have one effect; None where a task has no spread, or fewer
            than four repetitions.
    """

    estimate: Estimate
    tau2: float | None
    prediction: tuple[float, float] | None
    margin: float | None
    weights: tuple[tuple[str, float], ...]
    left_out: tuple[tuple[str, str], ...]
    repetitions: int | None = None
    homogeneity: tuple[float, float] | None = None


def log_ratios(errors: TaskErrors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln of both methods' errors, (n,) each; their difference is the log ratio of each repetition.

    Continuity: where an error of the task is 0, every error of the task, of both methods and all repetitions, becomes
    (N e + 1/2) / (N + 1), N its test samples (Haldane, Anscombe), so that the correction favours neither.

    Raises:
        BenchError: an error is negative or not finite, a proportion above 1, or 0 where there is no N.
    """
    both = np.asarray([errors.method, errors.control], dtype=float)
    most = math.inf if errors.samples is None else 1.0
    if not np.isfinite(both).all() or (both < 0).any() or (both > most).any():
        raise BenchError(f"{errors.task}: errors must be finite, at least 0 and, as proportions, at most 1")
    if (both == 0).any():
        if errors.samples is None:
            raise BenchError(f"{errors.task}: an NMSE of exactly 0 has no logarithm: look at the run, or leave it out")
        both = (errors.samples * both + 0.5) / (errors.samples + 1)
    return np.log(both[0]), np.log(both[1])


def log_margin(margin: float, error: float) -> float:
    """A margin in the task's own unit on the log scale: ln(1 + margin / error), at the control's mean error.

    The way down, -ln(1 - margin / error), is longer; the shorter of the two is taken for both, so that equivalence is
    never easier than declared. With error = 1, margin is relative: 0.05 is 5 percent of any error.

    Raises:
        BenchError: margin or error is not above 0.
    """
    if not (margin > 0 and error > 0):
        raise BenchError(f"margin {margin} and error {error} must be above 0")
    return math.log1p(margin / error)


def pool(tasks: Sequence[TaskErrors], *, level: float = LEVEL) -> Pooled:
    """Random-effects mean over tasks, made for few of them.

    With y_i the mean log ratio of task i, v_i its squared standard error, w_i = 1 / (v_i + tau2), tau2 the root of
    sum w_i (y_i - m)^2 = k - 1 (Paule & Mandel 1982, at least 0):

        m = sum w_i y_i / sum w_i
        se^2 = max(1 / sum w_i,  sum w_i (y_i - m)^2 / ((k - 1) sum w_i))
        interval m +- t_{k-1} se,  prediction m +- t_{k-2} sqrt(tau2 + se^2).

    The second term is Hartung and Knapp's; the larger of the two, because theirs alone can shrink below fixed effects
    (Roever, Knapp & Friede 2015; df of the prediction from Higgins, Thompson & Spiegelhalter 2009). Proportions of N
    samples come in steps, which bound v_i from below as on one task (`paired`). An NMSE without spread (all ratios
    equal) takes the mean v of the others; where no task has any, all weigh the same.
    Tasks with fewer than two repetitions are left out, by name.
    """
    kept: list[tuple[TaskErrors, Estimate]] = []
    left_out = []
    for errors in tasks:
        estimate = _on_task(errors, level) if len(errors.method) else Estimate(None, 0)
        if estimate.n < 2:
            left_out.append((errors.task, "fewer than two repetitions"))
        else:
            kept.append((errors, estimate))
    k = len(kept)
    if k < 2:
        reason = f"{k} of {len(tasks)} tasks can be pooled: two are needed"
        difference = kept[0][1].difference if kept else None
        return Pooled(Estimate(difference, k, reason=reason, level=level), None, None, None, (), tuple(left_out))
    y = np.array([e.difference for _, e in kept], dtype=float)
    tau2, se, weights = _random_effects(y, np.array([(e.se or 0.0) ** 2 for _, e in kept]))
    mean = float(weights @ y)
    sd = float(y.std(ddof=1))
    prediction = None
    if k > 2:
        half = float(stats.t.ppf(0.5 + level / 2, k - 2)) * math.sqrt(tau2 + se**2)
        prediction = (mean - half, mean + half)
    return Pooled(
        estimate=Estimate(mean, k, se=se, df=float(k - 1), sd=sd, level=level),
        tau2=tau2,
        prediction=prediction,
        margin=_margin([errors for errors, _ in kept], weights),
        weights=tuple((errors.task, float(w)) for (errors, _), w in zip(kept, weights, strict=True)),
        left_out=tuple(left_out),
        repetitions=min(e.n for _, e in kept),
        homogeneity=_homogeneity(y, [estimate for _, estimate in kept]),
    )


def _on_task(errors: TaskErrors, level: float) -> Estimate:
    """The log ratio on one task; a step 1 / N of an error e is one of 1 / (N e) of its logarithm."""
    both = log_ratios(errors)
    step = math.sqrt(float(np.exp(-2 * np.array(both)).mean())) / errors.samples if errors.samples else 0.0
    return paired(*both, resolution=step, level=level)


def _random_effects(y: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
    """tau2, standard error and relative weights."""
    k = len(y)
    if not (v > 0).any():  # the limit of v -> 0: a plain mean over tasks
        tau2 = float(y.var(ddof=1))
        return tau2, math.sqrt(tau2 / k), np.full(k, 1 / k)
    v = np.where(v > 0, v, v[v > 0].mean())
    unit = float(v.mean())  # statsmodels stops on an absolute step: solve on a scale near 1
    with np.errstate(divide="ignore", over="ignore"):  # its I2, unused, of effects that are all equal
        fit = combine_effects(y / math.sqrt(unit), v / unit, method_re="iterated", maxiter=200)
    se = max(float(fit.sd_eff_w_re), float(fit.sd_eff_w_re_hksj)) * math.sqrt(unit)
    return float(fit.tau2) * unit, se, np.asarray(fit.weights_rel_re, dtype=float)


def _homogeneity(y: NDArray[np.float64], estimates: Sequence[Estimate]) -> tuple[float, float] | None:
    """Cochran's Q = sum w_i (y_i - m)^2, m = sum w_i y_i / sum w_i, and its p: chi-squared of k - 1 where all are one.

    w_i = (n_i - 3) / ((n_i - 1) v_i): of a squared standard error from n_i repetitions, 1 / v_i is larger by that
    factor in the mean than what it estimates, and Q would find differences where there are none.
    """
    if any(not e.se or e.n < 4 for e in estimates):
        return None
    w = np.array([(e.n - 3) / ((e.n - 1) * (e.se or 1.0) ** 2) for e in estimates])
    q = float(w @ (y - w @ y / w.sum()) ** 2)
    return q, float(stats.chi2.sf(q, len(y) - 1))


def _margin(tasks: Sequence[TaskErrors], weights: NDArray[np.float64]) -> float | None:
    """The pooled effect of a method that is exactly at the margin on every task."""
    parts = []
    for errors in tasks:
        if errors.margin is None:
            return None
        parts.append(log_margin(errors.margin, float(np.exp(log_ratios(errors)[1]).mean())))
    return float(weights @ np.array(parts))
