"""Rules: what is read, what is refused by name, and that adjoints and kernels compute what autograd does."""

import linecache
import math
from types import FunctionType

import numpy as np
import pytest
import torch
from delrec import LIF, ATan, Boxcar, FastSigmoid, MultiGaussian, Slayer, Triangle, functions
from delrec.functions import exp, log, maximum, minimum, sqrt, tanh, where
from delrec.rules import NUMBA, Rule, RuleError, read, tensor_function
from delrec.rules.derive import vector_jacobian
from delrec.rules.graph import input_node
from delrec.testing import check_rules
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

F64 = torch.float64
SCALE = 0.75
TABLE = (0.25, 2.0)


def kernel(text, compiled=False):
    """Return a kernel's function: of numpy's scalars, which follow the same arithmetic, or compiled."""
    names = {
        "REAL": np.float64,
        "ONE": np.float64(1),
        "ZERO": np.float64(0),
        "math": np,
        "inlined": lambda f: f,
    }
    if compiled:
        import numba

        names |= {"math": math, "inlined": numba.njit(error_model="numpy")}
    exec(text, names)
    return names["rule"]


def adjoint(rule):
    """Return the rule (*inputs, *gradients of outputs) -> gradients of inputs."""
    given = tuple(input_node(f"{j}g") for j in range(len(rule.outputs)))
    return Rule((*rule.inputs, *given), tuple(vector_jacobian(rule.inputs, rule.outputs, given)))


def by_autograd(function, point):
    """Return a rule's value and gradient at one point: its own Python, run on tensors of no dimension."""
    leaves = [torch.tensor(p, dtype=F64, requires_grad=True) for p in point]
    value = function(*leaves) + 0 * sum(leaves)  # a rule may be a constant
    return [float(v) for v in (value.detach(), *torch.autograd.grad(value, leaves))]


def hold(function, points, compiled=False, tolerance=1e-12):
    """Hold a rule of one result, and its adjoint, on tensors and as a kernel, to the same Python run by autograd."""
    rule = read(function, "rule", "test")
    back = adjoint(rule)
    plain = tensor_function(rule) if function in (namesakes, corner_numbers) else function  # no Python of tensors
    wanted = [by_autograd(plain, point) for point in points]
    forward, backward = (kernel(NUMBA.function("rule", r), compiled) for r in (rule, back))
    compare = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
    for point, expected in zip(points, wanted, strict=True):
        arguments = [np.float64(p) for p in point]
        with np.errstate(all="ignore"):
            found = (forward(*arguments), *backward(*arguments, np.float64(1)))
        np.testing.assert_allclose(found, expected, **compare, err_msg=f"{point}")
    columns = [torch.tensor(c, dtype=F64) for c in zip(*points, strict=True)]
    found = (tensor_function(rule)(*columns), *tensor_function(back)(*columns, torch.ones(len(points), dtype=F64)))
    for mine, expected in zip(found, zip(*wanted, strict=True), strict=True):
        np.testing.assert_allclose(mine.expand(len(points)).numpy(), expected, **compare)


def arithmetic(x, y):
    z = -(x + 2) * y / (3 - x * x) + +y
    z -= x
    return z**3 - z**2 + (y * y + 1) ** 0.5 + (x * x + 2) ** -1.5 + (y * y + 1) ** -1 + (x * x + 1) ** -2


def all_functions(x, y):
    a, b = exp(-x * x), log(1 + y * y)
    return minimum(a, b) + maximum(x, tanh(y)) * sqrt(1 + a) - where(x > y, a, b) * functions.abs(x)


def namesakes(x, y):
    return math.exp(x) + torch.tanh(y) + np.sqrt(y * y + 1) + abs(x) + max(x, y, 0) - min(x, 1) + math.log(x * x + 1)


def conditions(x, y):
    inside = not (x < 0 or y > 1) and -0.5 < x <= 0.5
    far = (x > 1) | ~(y != 2) & (x == x)
    return (x * x if inside else y) + far * y + (1 if x > y else 0) * x


def outside(x, y):
    return x * SCALE + y * math.pi + TABLE[1] * x - TABLE[0]


def annotated(x: float, y: float) -> float:
    """A docstring, an annotation, a tuple, a chain."""
    pair = (x, y * y)
    a, (b, c) = pair[0], pair
    d: float = a * b
    e = f = c + d
    return e * f


def one_taken_branch(x, y):
    return (x if x < 0 else sqrt(x)) * y


def nested(g, like):
    shared = g * like
    inner = (sqrt(shared) if shared > 0.1 else shared) if g > 0 else log(1 - g)
    return inner * shared if like < 1 else inner + shared


ZOO = [arithmetic, all_functions, namesakes, conditions, outside, annotated, one_taken_branch, nested]
POINTS = [(0.3, -0.7), (1.5, 0.2), (-0.4, 0.9), (0.5, 2.0), (-2.0, -1.3), (0.25, 3.0), (1.2, 1.1)]


@pytest.mark.parametrize("function", ZOO)
def test_adjoint_and_kernel_are_autograds(function):
    hold(function, POINTS)
    hold(function, POINTS, compiled=True)


def corner_abs(x, y):
    return abs(x) * y


def corner_least(x, y):
    return minimum(x, y) * 3


def corner_most(x, y):
    return maximum(x, y) * 3 + maximum(x, 0)


def corner_sqrt(x, y):
    return sqrt(x) + y


def corner_log(x, y):
    return log(x) + y


def corner_division(x, y):
    return y / x


def corner_numbers(x, y):
    return log(0) + x * log(-1) + y / 0 + 0**-1


def corner_power(x, y):
    return x**-2 + x**0.5 + y**2


@pytest.mark.parametrize(
    "function",
    [corner_abs, corner_least, corner_most, corner_sqrt, corner_log, corner_division, corner_power, corner_numbers],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_corners_are_autograds(function, compiled):
    hold(function, [(0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (-1.0, -1.0)], compiled)


def test_nan_is_not_lost():
    for function in (corner_least, corner_most):
        forward = kernel(NUMBA.function("rule", read(function, "rule", "test")), compiled=True)
        for point in ((math.nan, 1.0), (1.0, math.nan)):
            assert math.isnan(forward(*point))
            assert math.isnan(tensor_function(read(function, "rule", "t"))(*(torch.tensor(p) for p in point)))


def test_the_branch_not_taken_adds_nothing():
    """On tensors torch.where multiplies its infinity by 0: NaN. A kernel leaves it out, of nested branches too."""
    back = kernel(NUMBA.function("rule", adjoint(read(one_taken_branch, "rule", "test"))), compiled=True)
    assert back(-2.0, 3.0, 1.0) == (3.0, -2.0)
    assert back(4.0, 3.0, 1.0) == (0.75, 2.0)
    back = kernel(NUMBA.function("rule", adjoint(read(nested, "rule", "test"))), compiled=True)
    assert back(1.0, 0.0, 1.0) == (0.0, 0.0)  # inner = shared = 0: sqrt(0) is not taken
    assert back(1.0, -2.0, 1.0) == (8.0, -4.0)  # shared^2


LEAVES = st.sampled_from(["x", "y", "z", "0.5", "2", "-1.25", "SCALE"])


def _branch(inner):
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(st.sampled_from(["({0} + {1})", "({0} - {1})", "({0} * {1})", "minimum({0}, {1})"]), pairs),
        st.tuples(st.sampled_from(["maximum({0}, {1})", "({0} / ({1} ** 2 + 0.5))", "-{0}", "tanh({0})"]), pairs),
        st.tuples(st.sampled_from(["exp(-abs({0}))", "log({0} ** 2 + 1)", "sqrt({0} * {0} + 0.1)"]), pairs),
        st.tuples(st.sampled_from(["abs({0})", "({0} if {1} > 0.1 else {1})", "({0}) ** 3"]), pairs),
        st.tuples(st.sampled_from(["where(({0} < {1}) & ({1} <= 2), {0}, x * {1})", "(({0} > {1}) * x)"]), pairs),
    ).map(lambda made: made[0].format(*made[1]))


def written(text, **names):
    """Return the function of a text, as if it stood in a file."""
    file = f"<rule {hash(text)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space = {**globals(), **names}
    exec(compile(text, file, "exec"), space)
    return next(f for f in space.values() if isinstance(f, FunctionType) and f.__code__.co_filename == file)


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(expression=st.recursive(LEAVES, _branch, max_leaves=12), seed=st.integers(0, 99))
def test_any_expression_has_autograds_adjoint(expression, seed):
    draw = np.random.default_rng(seed)
    function = written(f"def rule(x, y, z):\n    return {expression}\n")
    hold(function, draw.normal(size=(4, 3)).tolist(), tolerance=1e-10)


@pytest.mark.parametrize(
    "surrogate", [Triangle(0.7), ATan(), FastSigmoid(), Boxcar(), Slayer(), MultiGaussian()], ids=repr
)
def test_surrogates_are_the_same_as_kernels(surrogate):
    points = [(u, *surrogate.params) for u in (-3.0, -0.5, -0.2, 0.0, 0.3, 0.5, 0.7, 2.0)]
    hold(surrogate.derivative, points)
    u = torch.tensor([p[0] for p in points], dtype=F64)
    rule = kernel(NUMBA.function("rule", read(surrogate.derivative, "derivative", "s")), compiled=True)
    torch.testing.assert_close(
        torch.tensor([rule(*p) for p in points], dtype=F64), surrogate.slope(u), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("learn_tau", ["no", "shared", "neuron"])
@pytest.mark.parametrize(
    "settings", [{"threshold": 0.7, "tau": 5.0}, {"reset": "hard"}, {"reset": "hard", "v_reset": -0.4, "tau": 3.0}]
)
def test_adjoints_of_lif_agree_with_autograd(settings, learn_tau):
    check_rules(LIF(**settings, learn_tau=learn_tau))


def helper(x):
    return 2 * x


VECTOR = torch.ones(3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return helper(x)", "rule step of Mine calls 'helper', which is .*test_rules.helper"),
        ("return x * VECTOR", r"uses 'VECTOR', which is a tensor \(return it from coefficients"),
        ("return x * nowhere", "uses 'nowhere', which is not defined"),
        ("return math.gamma(x)", "calls 'math.gamma', which is math.gamma"),
        ("return x.clone()", "uses `x.clone`, an attribute of a value"),
        ("return x // y", "uses `x // y`"),
        ("return x ** y", "raises to `y`, which is no constant"),
        ("return x if y else 0", "uses `y` as a condition: write a comparison"),
        ("return 'soft'", "uses `'soft'`"),
        ("return [x for _ in range(3)][0]", "uses `.*for"),
        ("for _ in range(3): x = x * y\n    return x", "has a statement `for _ in range"),
        ("if x > 0: return x\n    return y", "has a statement `if x > 0:`"),
        ("x = y", "has no return"),
        ("return exp(x, y)", "calls 'exp' with 2 arguments instead of 1"),
    ],
)
def test_what_a_rule_may_not_hold_is_refused_by_name(body, message):
    function = written(f"def rule(x, y):\n    {body}\n")
    for _ in range(2):  # also from memory
        with pytest.raises(RuleError, match=message):
            read(function, "step", "Mine")


def test_a_rule_without_source_or_def_is_refused():
    space = {}
    exec("def rule(x):\n    return x\n", space)
    with pytest.raises(RuleError, match="source cannot be read"):
        read(space["rule"], "step", "Mine")
    with pytest.raises(RuleError, match="plain function"):
        read(print, "step", "Mine")


def test_a_changed_number_is_read_again():
    gain = 2.0

    def rule(x):
        return gain * x

    assert tensor_function(read(rule, "r", "o"))(torch.ones(1)) == 2
    first = read(rule, "r", "o")
    assert read(rule, "r", "o") is first
    gain = 3.0
    assert tensor_function(read(rule, "r", "o"))(torch.ones(1)) == 3
    gain = 2.0
    assert read(rule, "r", "o") is first


def test_equal_numbers_of_another_type_or_sign_are_told_apart():
    zero = 0.0

    def rule(x):
        return x * zero

    assert math.copysign(1, float(tensor_function(read(rule, "r", "o"))(torch.ones(1)))) == 1
    zero = -0.0
    assert math.copysign(1, float(tensor_function(read(rule, "r", "o"))(torch.ones(1)))) == -1


def test_functions_mean_the_same_on_numbers():
    for name, value in (("exp", 0.3), ("log", 0.0), ("sqrt", -1.0), ("tanh", 0.3), ("abs", -2.0)):
        mine, torchs = getattr(functions, name)(value), getattr(torch, name)(torch.tensor(value, dtype=F64))
        assert mine == torchs or (math.isnan(mine) and math.isnan(torchs))
    assert (minimum(1.0, 2.0), maximum(1.0, 2.0), where(1 > 2, 3.0, 4.0)) == (1, 2, 4)
    assert math.isnan(maximum(math.nan, 1.0))
