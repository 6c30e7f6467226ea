"""Rounds of boosting on small tables in as little Python as can be: there a round's kernel takes some microseconds."""

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.tree._tree import NODE_DTYPE, Tree

from fastfit.ensemble.forest_fitting import unfitted_tree
from fastfit.tree.tree_fitting import MAX_SEED

_ONE_VALUE = np.ones(1, dtype=np.intp)


def do_small_rounds(rounds, first, n_rounds):
    """Do all rounds from the first on, as ``rounds.do_round`` would one by one.

    Parameters
    ----------
    rounds : fastfit.ensemble.boosting_fitting._Rounds
        Of a small table, whose kernel computes the steps, without a bag.
    first, n_rounds : int
    """
    small, loss, y, estimator = rounds.small, rounds.loss, rounds.y, rounds.estimator
    raw, gradient = rounds.raw, small.gradient
    if not loss.is_multiclass:
        raw, gradient = raw[:, 0], gradient[:, 0]
    work = small.work
    # One by one scikit-learn's trees would draw the same.
    seeds = rounds.random_state.randint(0, MAX_SEED, size=(n_rounds, len(work.seeds)))
    nodes = work.ints.view(NODE_DTYPE)[:, :, 0]
    template = rounds.template
    template.max_features_ = rounds.options.max_features
    for i in range(n_rounds):
        loss.gradient(y_true=y, raw_prediction=raw, sample_weight=None, gradient_out=gradient)
        for k, (n_nodes, depth) in enumerate(small.run(seeds[i])):
            tree = Tree(template.n_features_in_, _ONE_VALUE, 1)
            # The tree copies what it is given.
            tree.__setstate__(
                {
                    "max_depth": depth,
                    "node_count": n_nodes,
                    "nodes": nodes[k, :n_nodes],
                    "values": work.values[k, :n_nodes],
                }
            )
            member = unfitted_tree(template, rounds.random_state)
            member.tree_ = tree
            estimator.estimators_[first + i, k] = member
        estimator.train_score_[first + i] = rounds.mean_loss_of_all(raw)


def fit_dummy(init, X, y, codes_of_classes):
    """Fit the dummy that predicts before the first round: what its ``fit`` does, but for the checks of X and y.

    Parameters
    ----------
    init : DummyClassifier or DummyRegressor
        With the strategy "prior", "mean" or "quantile".
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) of float64
    codes_of_classes : bool
        Whether y has the numbers of classes, of which every one occurs.
    """
    if type(init) is DummyRegressor and init.strategy == "mean":
        init.n_features_in_ = X.shape[1]
        init.n_outputs_ = 1
        init.constant_ = np.average(y.reshape(-1, 1), axis=0).reshape(1, 1)
    elif type(init) is DummyClassifier and init.strategy == "prior" and codes_of_classes:
        counts = np.bincount(y.astype(np.intp))
        init.n_features_in_ = X.shape[1]
        init._strategy = "prior"
        init.sparse_output_ = False
        init.n_outputs_ = 1
        init.classes_ = np.arange(float(len(counts)))
        init.n_classes_ = len(counts)
        init.class_prior_ = counts / len(y)
    else:
        init.fit(X, y)
