"""What each hyperparameter controls, in a phrase."""

import inspect
import re

# By name, where the meaning is the same in every estimator that has it.
PHRASES = {
    "activation": "the function that hidden neurons apply",
    "adam_epsilon": "what Adam adds to the root of its second moment",
    "average": "whether, or from which update on, weights are averaged",
    "batch_size": "samples in a batch: those that one update learns from",
    "beta_1": "how long Adam's mean gradient remembers",
    "beta_2": "how long Adam's mean squared gradient remembers",
    "bootstrap": "whether each tree gets samples drawn with replacement",
    "categorical_features": "which columns are categories, not numbers",
    "ccp_alpha": "how much a subtree must lower the impurity a leaf to survive pruning",
    "class_weight": "how much the samples of each class count",
    "colsample_bytree": "share of the features that each round may use",
    "compact_pickle": "whether pickles keep only what prediction needs",
    "copy_X": "nothing here: X is never written to",
    "criterion": "how the quality of a split is measured",
    "dropout": "probability with which a hidden neuron is left out of an update",
    "dtype": "precision of weights and arithmetic",
    "early_stopping": "whether a score on held-out data ends the training",
    "eta0": "the learning rate to start from",
    "fit_intercept": "whether a constant is learned beside the weights",
    "group_rare_categories": "whether categories beyond the bins share one",
    "hidden_layer_sizes": "number of hidden layers, and of neurons in each",
    "importance_type": "whether importances count gains or splits",
    "init": "the model whose predictions the first round starts from",
    "interaction_cst": "which features may be used together on a path",
    "l1_ratio": "share of the L1 penalty in an elastic net",
    "l2_regularization": "how strongly the values of leaves are pulled to zero",
    "learning_rate_init": "the learning rate to start from",
    "loss": "what the training makes small",
    "max_bins": "how many values of a feature splits are chosen among",
    "max_depth": "the most splits between the root and a leaf",
    "max_features": "how many features each split is chosen among",
    "max_fun": "the most evaluations of the loss by L-BFGS",
    "max_grad_norm": "the length that longer gradients are cut to",
    "max_leaf_nodes": "the most leaves of a tree",
    "max_samples": "how many samples each tree gets",
    "min_gain_to_split": "what a split must gain to be made",
    "min_impurity_decrease": "by how much a split must lower the impurity",
    "min_samples_leaf": "the fewest samples in a leaf",
    "min_samples_split": "the fewest samples in a node that is split",
    "min_weight_fraction_leaf": "the least share of all weight in a leaf",
    "momentum": "share of the last step that the next one takes along",
    "monotonic_cst": "which features may only raise, or only lower, the prediction",
    "n_iter_no_change": "how many iterations without progress end the training",
    "n_jobs": "the most threads, within the budget of the process",
    "nesterov": "whether the gradient is taken where the momentum leads to",
    "nesterovs_momentum": "whether the gradient is taken where the momentum leads to",
    "oob_score": "whether the forest is scored on samples that its trees did not see",
    "optimizer": "how a gradient becomes a step",
    "penalty": "which size of the weights is penalised",
    "positive": "whether weights must not be negative",
    "quantile": "which quantile is predicted",
    "random_state": "the seed: the same int gives the same model",
    "reg_alpha": "the least gradient that moves the value of a leaf from zero",
    "rho": "how long the mean squared gradient of RMSprop remembers",
    "scoring": "the score that decides about early stopping",
    "shuffle": "whether samples come in a new order in every epoch",
    "solver": "the algorithm of the fit",
    "splitter": "how candidate splits are found",
    "step_epochs": "epochs between two drops of the learning rate",
    "step_factor": "what the learning rate is multiplied by at a drop",
    "subsample": "share of the samples that each round learns from",
    "validation_fraction": "share of the samples held out for early stopping",
    "verbose": "how much the fit tells while it runs",
    "warm_start": "whether a fit goes on from the last one",
    "warmup_epochs": "epochs over which the learning rate rises to its value",
}

# By ancestor of the estimator's class, where the meaning differs.
PHRASES_BY_CLASS = {
    "BaseSGD": {
        "alpha": "strength of the penalty on the weights",
        "epsilon": "the error from which on the loss is linear, or begins",
        "learning_rate": "how the size of the steps changes over the updates",
        "max_iter": "the most epochs: passes over the data",
        "power_t": "how fast the steps of 'invscaling' shrink",
        "tol": "by how much an epoch must lower the loss to count as progress",
    },
    "BaseMultilayerPerceptron": {
        "alpha": "strength of the L2 penalty on the weights",
        "epsilon": "what Adam adds to the root of its second moment",
        "learning_rate": "how the learning rate changes over the epochs",
        "max_iter": "the most epochs: passes over the data",
        "power_t": "how fast the rate of 'invscaling' shrinks",
        "tol": "by how much an epoch must improve loss or score to count as progress",
    },
    "LinearRegression": {
        "learning_rate": "size of the steps: 'auto', or a number for plain descent",
        "max_iter": "the most steps, or epochs of mini-batches",
        "tol": "when the descent is done; with 'auto', which singular values count as zero",
    },
    "BaseHistGradientBoosting": {
        "learning_rate": "how much of each tree is added to the prediction",
        "max_iter": "the most rounds of boosting",
        "tol": "by how much a round must improve the score to count as progress",
    },
    "BaseGradientBoosting": {
        "alpha": "the quantile of the huber or quantile loss",
        "learning_rate": "how much of each tree is added to the prediction",
        "n_estimators": "rounds of boosting: trees, for each class",
        "tol": "by how much a round must improve the loss to count as progress",
    },
    "BaseForest": {"n_estimators": "number of trees"},
    "BaseSearchCV": {
        "aggressive_elimination": "whether first rounds are repeated until few candidates are left",
        "cv": "the folds that candidates are scored on",
        "error_score": "the score of a candidate whose fit fails",
        "estimator": "the model whose hyperparameters are searched",
        "factor": "one of so many candidates survives each iteration",
        "max_resources": "the most of the resource that a candidate gets",
        "min_resources": "how much of the resource the first iteration gives",
        "n_candidates": "how many settings the search begins with",
        "n_iter": "how many settings are drawn",
        "param_distributions": "values or distributions that settings are drawn from",
        "param_grid": "values whose combinations are tried",
        "pre_dispatch": "how many fits are handed to joblib ahead of time",
        "random_state": "the seed: the same int draws the same settings",
        "refit": "whether the best setting is fitted to all data in the end",
        "resource": "what candidates that survive get more of",
        "return_train_score": "whether the training data are scored, too",
        "scoring": "by what candidates are compared",
    },
}


def phrase_of(estimator_class, name):
    """Return what a hyperparameter controls.

    Parameters
    ----------
    estimator_class : type
    name : str

    Returns
    -------
    phrase : str
        Ours, or the beginning of the parameter's description in the class's docstring; empty if there is neither.

    Examples
    --------
    >>> from fastfit.inspection.phrases import phrase_of
    >>> from fastfit.tree import DecisionTreeClassifier
    >>> phrase_of(DecisionTreeClassifier, "max_depth")
    'the most splits between the root and a leaf'
    """
    module = estimator_class.__module__.split(".")[0]
    if module in ("fastfit", "sklearn"):
        for ancestor in estimator_class.__mro__:
            phrase = PHRASES_BY_CLASS.get(ancestor.__name__, {}).get(name)
            if phrase is not None:
                return phrase
        if module == "fastfit" and name in PHRASES:
            return PHRASES[name]
    return _from_docstring(estimator_class, name)


def _from_docstring(estimator_class, name):
    """Return the first sentence of a parameter in a numpydoc docstring, at most some 80 characters of it."""
    text = inspect.getdoc(estimator_class) or ""
    found = re.search(
        rf"^{re.escape(name)} *:[^\n]*\n((?:[ \t]+[^\n]*\n|[ \t]*\n)+)", text + "\n", re.MULTILINE
    )
    if found is None:
        return ""
    words = " ".join(found.group(1).split())
    sentence = re.split(r"(?<=[^.]\w)[.:;](?= |$)", words, maxsplit=1)[0]
    sentence = sentence.rstrip(".")
    if len(sentence) > 80:
        sentence = sentence[:80].rsplit(" ", 1)[0] + " …"
    return sentence
