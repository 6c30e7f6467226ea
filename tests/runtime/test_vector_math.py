"""exp, log, … against 50-digit decimals: scalars and vectors, several CPUs, and plain Python."""

import os
import platform
import re
import subprocess
import sys
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest
from numba.core import config

from fastfit.runtime import cpu
from fastfit.runtime.compile import REASSOCIATE, as_readonly, jit
from fastfit.runtime.simd import lanes, load, store
from fastfit.runtime.vector_math import exp, log, log1p, log_logistic, logistic, softplus, tanh

pytestmark = pytest.mark.plain_python

NAMES = ("exp", "log", "log1p", "tanh", "logistic", "softplus", "log_logistic")
MAX_ERROR = 2.0  # units in the last place
DTYPES = (np.float32, np.float64)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_name = pytest.mark.parametrize("name", NAMES)
needs_compiler = pytest.mark.skipif(config.DISABLE_JIT, reason="looks at compiled code")


@jit
def evaluate_scalars(
    x,  # (7, n) float32 or float64
    results_out,  # as x
):
    for i in range(x.shape[1]):
        results_out[0, i] = exp(x[0, i])
        results_out[1, i] = log(x[1, i])
        results_out[2, i] = log1p(x[2, i])
        results_out[3, i] = tanh(x[3, i])
        results_out[4, i] = logistic(x[4, i])
        results_out[5, i] = softplus(x[5, i])
        results_out[6, i] = log_logistic(x[6, i])


@jit
def evaluate_vectors(
    x,  # (7, n) float32 or float64; n a multiple of the lanes
    results_out,  # as x
):
    for i in range(0, x.shape[1], lanes(x.dtype)):
        store(results_out[0], i, exp(load(x[0], i)))
        store(results_out[1], i, log(load(x[1], i)))
        store(results_out[2], i, log1p(load(x[2], i)))
        store(results_out[3], i, tanh(load(x[3], i)))
        store(results_out[4], i, logistic(load(x[4], i)))
        store(results_out[5], i, softplus(load(x[5], i)))
        store(results_out[6], i, log_logistic(load(x[6], i)))


@jit(fastmath=REASSOCIATE)
def evaluate_under_fastmath(x, results_out):
    for i in range(0, x.shape[1], lanes(x.dtype)):
        store(results_out[0], i, exp(load(x[0], i)))
        store(results_out[1], i, log(load(x[1], i)))
        store(results_out[2], i, log1p(load(x[2], i)))
        store(results_out[3], i, tanh(load(x[3], i)))


def evaluate(kernel, x):
    results = np.zeros_like(x)
    with np.errstate(all="ignore"):  # for plain Python, where NumPy warns of infinity - infinity
        kernel(as_readonly(x), results)
    return results


SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, -1.5, 1e-30, -1e-30, 1e30, -1e30)


def make_arguments(name, dtype, n=640):
    """Return n arguments of all kinds: special, near 0, over the whole range, at its ends, subnormal."""
    rng = np.random.default_rng(0)
    least = float(np.finfo(dtype).smallest_subnormal)
    overflow, underflow = (88.7228, -103.9721) if dtype == np.float32 else (709.782, -745.133)
    edges = [edge + step for edge in (overflow, underflow) for step in (-0.6, -1e-3, 0.0, 1e-3, 0.6)]
    special = [*SPECIAL, *edges, *(k * least for k in (1, 3, 1000, -1, -3, -1000))]
    if name == "log":
        kinds = [
            np.exp(0.99 * rng.uniform(underflow, overflow, n)),
            rng.uniform(0.6, 1.6, n),
            least * 2 ** rng.uniform(0, 22, n),
        ]
    elif name == "log1p":
        kinds = [
            np.exp(rng.uniform(-60, overflow - 1, n)),
            rng.uniform(-0.999, 1.5, n),
            rng.uniform(-0.3, 0.5, n),
        ]
        kinds += [-np.exp(rng.uniform(-60, -1e-6, n)), -1 + 2.0 ** -rng.uniform(1, 20, n)]
    else:
        kinds = [rng.uniform(underflow, overflow, n), rng.uniform(-1, 1, n), rng.uniform(-20, 20, n)]
        kinds += [np.exp(rng.uniform(-60, 0, n)), rng.uniform(underflow, 0.97 * underflow, n)]
    kinds = [kind[: (n - len(special)) // len(kinds)] for kind in kinds]
    return np.resize(np.concatenate([special, *kinds]).astype(dtype), n)


def compute_exactly(name, x):
    """Return the function at the finite float x as a 50-digit decimal, or as infinity or NaN."""
    x = Decimal(float(x))
    if name in ("log", "log1p"):
        x = x + (name == "log1p")
        return x.ln() if x > 0 else (-np.inf if x == 0 else np.nan)
    if name not in ("softplus", "log_logistic"):
        x = min(max(x, Decimal(-2000)), Decimal(2000))  # all is decided far before; decimals overflow beyond
    if name == "tanh":
        if abs(x) < Decimal("1e-10"):
            return x - x**3 / 3
        power = (2 * x).exp()
        return (power - 1) / (power + 1)
    if name in ("exp", "logistic"):
        return x.exp() if name == "exp" else 1 / (1 + (-x).exp())
    x = x if name == "softplus" else -x
    value = max(x, Decimal(0)) + compute_log1p_exactly((-abs(x)).exp())
    return value if name == "softplus" else -value


def compute_log1p_exactly(y):
    return (1 + y).ln() if y > Decimal("1e-20") else y - y * y / 2


def measure_errors(name, x, results):
    """Return the errors in units in the last place; infinite where a result is of the wrong kind."""
    info = np.finfo(x.dtype)
    with localcontext(Context(prec=50, Emin=-9999, Emax=9999)):
        errors = []
        for argument, result in zip(x, results, strict=True):
            exact = compute_exactly(name, argument)
            with np.errstate(over="ignore"):
                rounded = x.dtype.type(float(exact))
            if not np.isfinite(rounded) or not np.isfinite(result):
                errors.append(0.0 if np.array_equal(result, rounded, equal_nan=True) else np.inf)
                continue
            unit = 2.0 ** (max(np.frexp(rounded)[1] - 1, info.minexp) - info.nmant)
            errors.append(float(abs(Decimal(float(result)) - exact) / Decimal(unit)))
    return np.array(errors)


@pytest.fixture(scope="module", params=DTYPES, ids=["float32", "float64"])
def results(request):
    """Return the arguments, and the results of scalars and of vectors."""
    x = np.stack([make_arguments(name, request.param) for name in NAMES])
    return x, evaluate(evaluate_scalars, x), evaluate(evaluate_vectors, x)


@each_name
def test_within_two_units_in_the_last_place(results, name):
    x, scalars, _ = results
    row = NAMES.index(name)
    finite = np.isfinite(x[row])
    errors = measure_errors(name, x[row, finite], scalars[row, finite])
    worst = errors.argmax()
    assert errors[worst] <= MAX_ERROR, f"{errors[worst]:.2f} ulp at {x[row, finite][worst]!r}"


def test_vectors_give_the_bits_of_scalars(results):
    _, scalars, vectors = results
    np.testing.assert_array_equal(vectors, scalars)
    numbers = ~np.isnan(scalars)
    np.testing.assert_array_equal(np.signbit(vectors[numbers]), np.signbit(scalars[numbers]))


@pytest.mark.parametrize(
    ("name", "at_zero", "at_infinity", "at_minus_infinity"),
    [
        ("exp", 1.0, np.inf, 0.0),
        ("log", -np.inf, np.inf, np.nan),
        ("log1p", 0.0, np.inf, np.nan),
        ("tanh", 0.0, 1.0, -1.0),
        ("logistic", 0.5, 1.0, 0.0),
        ("softplus", np.log(2), np.inf, 0.0),
        ("log_logistic", -np.log(2), 0.0, -np.inf),
    ],
)
def test_special_arguments(results, name, at_zero, at_infinity, at_minus_infinity):
    x, scalars, _ = results
    row = NAMES.index(name)
    assert x[row, :5].tobytes() == np.array(SPECIAL[:5], x.dtype).tobytes()
    expected = np.array([at_zero, at_zero, at_infinity, at_minus_infinity, np.nan], x.dtype)
    np.testing.assert_array_equal(scalars[row, :5], expected)
    if name in ("log1p", "tanh"):
        assert np.signbit(scalars[row, :2]).tolist() == [False, True]


@each_dtype
def test_exp_at_the_ends_of_its_range(dtype):
    info = np.finfo(dtype)
    least = float(info.smallest_subnormal)
    x = np.zeros((7, lanes(np.float32) * 2), dtype)
    overflow = np.log(info.max)
    underflow = (
        dtype(np.log(np.float64(least)) - np.log(2)) if dtype == np.float32 else dtype(-745.1332191019411)
    )
    x[0, :4] = np.nextafter(overflow, dtype(0)), dtype(1.001) * overflow, underflow, underflow * dtype(1.0001)
    result = evaluate(evaluate_vectors, x)[0]
    assert result[0] < info.max
    assert result[1] == np.inf
    assert result[2] in (0.0, least)
    assert result[3] == 0.0


def test_fast_math_around_them_changes_nothing(results):
    x, _, vectors = results
    np.testing.assert_array_equal(evaluate(evaluate_under_fastmath, x)[:4], vectors[:4])


@needs_compiler
@pytest.mark.parametrize("kernel", [evaluate_scalars, evaluate_vectors], ids=["scalars", "vectors"])
def test_compiled_without_calls_into_the_widest_registers(results, kernel):
    assembly = list(kernel.inspect_asm().values())[-1]
    calls = set(re.findall(r"\bcall\w*\s+([a-z]\w*)|movabsq\s+\$([a-z]\w*)", assembly))
    assert not {"".join(call) for call in calls} & {
        name + suffix
        for name in (*NAMES, "expm1", "fma", "floor", "rint", "ldexp", "frexp")
        for suffix in ("", "f")
    }
    if platform.machine() in ("x86_64", "AMD64"):
        register = {64: "zmm", 32: "ymm", 16: "xmm"}[cpu.VECTOR_BYTES]
        assert re.search(rf"divp[sd]\s.*{register}", assembly), "the arithmetic is not in vectors"


def save_results(path):
    """Write arguments and results to a file, for the comparison of this process with another."""
    arrays = {}
    for dtype in DTYPES:
        x = np.stack([make_arguments(name, dtype, 320) for name in NAMES])
        arrays[np.dtype(dtype).name] = np.stack([x, evaluate(evaluate_vectors, x)])
    np.savez(path, **arrays)


# Kinds of CPU without fused multiply-add, and with it but half the width; and no compiler at all.
OTHERS = {
    "sse2": {"NUMBA_CPU_NAME": "generic"},
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
    "plain": {"NUMBA_DISABLE_JIT": "1"},
}


@pytest.mark.parametrize("kind", list(OTHERS))
def test_other_cpus_and_plain_python_agree(tmp_path, kind):
    if kind != "plain" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("names x86 CPUs")
    if kind == "avx2" and "+avx2" not in cpu.cpu_features():
        pytest.skip("this CPU cannot run it")
    path = tmp_path / "results.npz"
    process = subprocess.run(
        [sys.executable, __file__, str(path)], env=os.environ | OTHERS[kind], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    for x, theirs in np.load(path).values():
        for row, name in enumerate(NAMES):
            finite = np.isfinite(x[row])
            errors = measure_errors(name, x[row, finite], theirs[row, finite])
            assert errors.max() <= MAX_ERROR, (name, x.dtype, x[row, finite][errors.argmax()])
        np.testing.assert_array_equal(
            np.isfinite(theirs), np.isfinite(evaluate(evaluate_vectors, np.ascontiguousarray(x)))
        )


if __name__ == "__main__":
    save_results(sys.argv[1])
