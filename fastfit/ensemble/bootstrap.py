"""The bootstrap samples of a forest, as how often each row was drawn: the same draws as scikit-learn's."""

import threading

import numpy as np


class _Local(threading.local):
    """A generator for each thread, to be seeded anew: making one takes 90 us, seeding it 2."""

    def __init__(self):
        self.generator = np.random.RandomState()


_local = _Local()


class BootstrapDraws:
    """Draws rows with replacement, evenly or with given probabilities.

    A tree's draw depends on nothing but its seed, so that it can be repeated when out-of-bag rows are asked for.

    Parameters
    ----------
    n_samples : int
        Number of rows to draw from.
    n_draws : int
        Number of draws for a tree.
    sample_weight : ndarray of shape (n_samples,), or None
        What the probabilities are proportional to. None: all are the same.

    Raises
    ------
    ValueError
        If the weights make no probabilities, in NumPy's words, as from scikit-learn's forests.

    Examples
    --------
    >>> from fastfit.ensemble.bootstrap import BootstrapDraws
    >>> counts = BootstrapDraws(5, 8, None).counts(seed=0)
    >>> counts.sum(), len(counts)
    (np.int64(8), 5)
    """

    def __init__(self, n_samples, n_draws, sample_weight):
        self.n_samples = n_samples
        self.n_draws = n_draws
        self.cumulative = None
        if sample_weight is not None:
            probabilities = sample_weight / np.sum(sample_weight)
            # One draw for the sake of NumPy's checks; those of the trees then need none.
            np.random.RandomState(0).choice(n_samples, 1, p=probabilities)
            self.cumulative = np.cumsum(probabilities, dtype=np.float64)
            self.cumulative /= self.cumulative[-1]

    def counts(self, seed):
        """Return how often each row is drawn with this seed, as integers of shape (n_samples,)."""
        random_state = _local.generator
        random_state.seed(seed)
        if self.cumulative is None:
            drawn = random_state.randint(0, self.n_samples, self.n_draws)
        else:
            # RandomState.choice looks each uniform number up in turn. Only how often a row is found matters here,
            # and in ascending order the search walks through memory instead of jumping about.
            uniform = np.sort(random_state.random_sample(self.n_draws))
            drawn = self.cumulative.searchsorted(uniform, side="right")
        return np.bincount(drawn, minlength=self.n_samples)


class BalancedSubsample:
    """Weights that balance the classes within one bootstrap sample (``class_weight="balanced_subsample"``).

    A class that was drawn c times gets the weight ``n_draws / (number of classes drawn * c)``; with several outputs
    the weights of a row's classes are multiplied.

    Parameters
    ----------
    class_indices : ndarray of shape (n_samples, n_outputs)
        Positions of the rows' classes, integers or floats.
    """

    def __init__(self, class_indices):
        self.columns = [column.astype(np.intp) for column in class_indices.T]

    def weights(self, counts):
        """Return the weight of each row, its number of draws included: (n_samples,) float64."""
        product = None
        for column in self.columns:
            drawn = np.bincount(column, weights=counts)
            is_drawn = drawn > 0.0
            weight = np.zeros(len(drawn))
            weight[is_drawn] = drawn.sum() / (is_drawn.sum() * drawn[is_drawn])
            of_row = weight[column]
            product = of_row if product is None else product * of_row
        return counts * product
