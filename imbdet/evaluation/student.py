"""Student's t distribution: tail and quantile, of arrays, without scipy.

The tail is half a regularised incomplete beta function, I_x(v/2, 1/2) / 2 at x = v / (v + t^2) (Abramowitz and Stegun
1964, 26.5.27 with 26.7.1), by its continued fraction (26.5.8) in Lentz's form. scipy would be one more requirement of
every installation for two functions; the tests compare them with it.
"""

import math

import numpy as np

_STEPS = 500  # of the continued fraction; some 10 are taken for few degrees of freedom, 100 for 10,000
_TINY = 1e-300


def student_tail(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """P(T > t) for t >= 0 and df > 0 degrees of freedom, which broadcast; relative error about 1e-12."""
    t, df = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(df, dtype=np.float64))
    a, x = df / 2, df / (df + t * t)
    # The fraction converges quickly on one side of the mean of the distribution; the other is one minus it.
    swap = x > (a + 1) / (a + 2.5)
    first, second = np.where(swap, 0.5, a), np.where(swap, a, 0.5)
    y = np.where(swap, t * t / (df + t * t), x)
    beta = _incomplete_beta(y, first, second)
    return np.where(swap, 1 - beta, beta) / 2


def student_quantile(tail: np.ndarray, df: np.ndarray) -> np.ndarray:
    """t >= 0 with P(T > t) = tail, for 0 < tail <= 1/2 and df >= 1."""
    tail, df = np.broadcast_arrays(np.asarray(tail, dtype=np.float64), np.asarray(df, dtype=np.float64))
    # Newton on the logarithm of the tail over that of t, which is close to a line, from the quantile of a neighbour:
    # Cauchy's for few degrees of freedom, else the normal's in Fisher's expansion (26.7.5, 26.2.23).
    cauchy = 1 / np.tan(np.pi * np.minimum(tail, 0.5 - 1e-15))
    r = np.sqrt(-2 * np.log(tail))
    z = r - (2.515517 + 0.802853 * r + 0.010328 * r**2) / (1 + 1.432788 * r + 0.189269 * r**2 + 0.001308 * r**3)
    log_t = np.log(np.where((df < 5) | (z < 0.1), cauchy, z + (z**3 + z) / (4 * df)))
    constant = _log_gamma(df / 2 + 0.5) - _log_gamma(df / 2) - 0.5 * np.log(df * np.pi)
    for _ in range(100):
        t = np.exp(log_t)
        now = np.maximum(student_tail(t, df), _TINY)
        density = np.exp(constant - (df + 1) / 2 * np.log1p(t * t / df))
        step = np.log(now / tail) * now / np.maximum(t * density, _TINY)
        log_t = log_t + np.clip(step, -1, 1)
        if (abs(step) < 1e-12).all():
            break
    return np.exp(log_t)


def _incomplete_beta(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """I_x(a, b), for x below the mean of the beta distribution or a little above."""
    with np.errstate(divide="ignore"):  # x = 0 gives 0
        front = np.exp(_log_gamma(a + b) - _log_gamma(a) - _log_gamma(b) + a * np.log(x) + b * np.log1p(-x)) / a
    c, d = np.ones_like(x), 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d.copy()
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1 / _away_from_zero(1 + numerator * d)
            c = _away_from_zero(1 + numerator / c)
            fraction *= c * d
        if (abs(c * d - 1) < 1e-14).all():
            break
    return front * fraction


def _away_from_zero(x: np.ndarray) -> np.ndarray:
    return np.where(abs(x) < _TINY, _TINY, x)


def _log_gamma(x: np.ndarray) -> np.ndarray:
    values, place = np.unique(x, return_inverse=True)  # mostly a handful of degrees of freedom
    return np.array([math.lgamma(value) for value in values])[place].reshape(np.shape(x))
