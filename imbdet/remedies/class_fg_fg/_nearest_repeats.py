"""The repeats nearest to 1 that bring expected class counts near a target: a least-squares problem with bounds.

Notable: N repeats are sought, but K numbers decide them. The repeats that solve

    min over low <= r <= high of  |B r - 1|^2 + (ridge / N) |r - 1|^2,    B[c, i] = boxes of c in image i / target of c

are r(y) = clip(1 + (N / ridge) B^T y, low, high) at the shortfalls y = 1 - B r of the classes. So y (K,) solves
y - 1 + B r(y) = 0, which is the gradient of a smooth, strictly convex function: Newton's method with a line search
finds it in some ten steps, each a K x K system. 100,000 images take a second or so, and images with the same objects
get the same repeats by themselves, without being grouped first.
Letters: N images, K classes, E pairs of an image and a class that is in it.
"""

import numpy as np

from ._class_counts import ImageClasses

TOLERANCE = 1e-9  # of B r - 1 + y, that is of a class's boxes relative to its target
STEPS = 200


def nearest_repeats(held: ImageClasses, target: np.ndarray, low: float, high: float, ridge: float) -> np.ndarray:
    """Return float64 (N,): the solution.

    Args:
        held: what is in the images.
        target: float (K,), wanted boxes of each class, positive.
        low, high: bounds of the repeats, 0 <= low <= 1 <= high.
        ridge: > 0; the smaller, the nearer the target and the farther from 1.

    Raises:
        RuntimeError: Newton's method does not arrive; a larger ridge makes it easier.
    """
    problem = _Problem(held, target, low, high)
    y, easier = np.zeros(held.num_classes), max(ridge, 1.0)
    while easier > ridge:  # with a small ridge the function is nearly not smooth: come from the larger ones
        y = problem.solve(easier, y)
        easier /= 10
    return problem.repeats(ridge, problem.solve(ridge, y))


class _Problem:
    """The function of y (K,) and its derivatives; `ridge` is an argument, as it is solved for several."""

    def __init__(self, held: ImageClasses, target: np.ndarray, low: float, high: float):
        self.n, self.k, self.low, self.high = held.num_images, held.num_classes, low, high
        self.images, self.labels = held.images, held.labels
        self.values = held.boxes / target[held.labels]  # of B where it is not 0
        left, right = _pairs(held)
        self.cells, self.owners = self.labels[left] * self.k + self.labels[right], self.images[left]
        self.squares = self.values[left] * self.values[right]

    def raised(self, ridge: float, y: np.ndarray) -> np.ndarray:
        """(N,): (N / ridge) B^T y, what the repeats would differ from 1 by without bounds."""
        return self.n / ridge * np.bincount(self.images, weights=self.values * y[self.labels], minlength=self.n)

    def repeats(self, ridge: float, y: np.ndarray) -> np.ndarray:
        return np.clip(1 + self.raised(ridge, y), self.low, self.high)

    def gradient(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(K,): y - 1 + B r; z: `raised` of y."""
        r = np.clip(1 + z, self.low, self.high)
        return y - 1 + np.bincount(self.labels, weights=self.values * r[self.images], minlength=self.k)

    def value(self, ridge: float, y: np.ndarray, z: np.ndarray) -> float:
        """What `gradient` is the gradient of: |y|^2 / 2 - sum y + (ridge / N) sum of the integrals of r over z."""
        inside = np.clip(z, self.low - 1, self.high - 1)
        integrals = inside + inside**2 / 2 + (1 + inside) * (z - inside)
        return y @ y / 2 - y.sum() + ridge / self.n * integrals.sum()

    def solve(self, ridge: float, y: np.ndarray) -> np.ndarray:
        """The y of gradient 0, from a first guess."""
        z = self.raised(ridge, y)
        for _ in range(STEPS):
            gradient = self.gradient(y, z)
            if np.abs(gradient).max(initial=0) < TOLERANCE:
                return y
            free = (1 + z > self.low) & (1 + z < self.high)
            curvature = np.bincount(self.cells, weights=self.squares * free[self.owners], minlength=self.k**2)
            hessian = np.eye(self.k) + self.n / ridge * curvature.reshape(self.k, self.k)
            step = np.linalg.solve(hessian, -gradient)
            along, length = self.raised(ridge, step), 1.0
            enough, now = 1e-4 * (gradient @ step), self.value(ridge, y, z)
            while self.value(ridge, y + length * step, z + length * along) > now + length * enough and length > 1e-12:
                length /= 2
            y, z = y + length * step, z + length * along
        raise RuntimeError(
            f"ridge {ridge:g}: no repeats found in {STEPS} steps, the gradient is still {np.abs(gradient).max():.2g}"
        )


def _pairs(held: ImageClasses) -> tuple[np.ndarray, np.ndarray]:
    """Every two (image, class) pairs of one image, as two arrays of places in `held`; each with itself, too."""
    per_image = np.bincount(held.images, minlength=held.num_images)
    first = np.cumsum(per_image) - per_image
    copies = per_image[held.images]
    left = np.repeat(np.arange(len(held.images)), copies)
    within = np.arange(len(left)) - np.repeat(np.cumsum(copies) - copies, copies)
    return left, first[held.images[left]] + within
