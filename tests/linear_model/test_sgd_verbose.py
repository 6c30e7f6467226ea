"""What a verbose fit of several classes tells."""

import re

import pytest
from sklearn import linear_model as sklearn_linear_model
from sklearn.datasets import load_iris

from fastfit import linear_model


@pytest.mark.parametrize("verbose", [0, 1])
def test_classes_are_told_of_as_scikit_learn_tells(capsys, verbose):
    X, y = load_iris(return_X_y=True)
    texts = []
    for module in (linear_model, sklearn_linear_model):
        model = module.SGDClassifier(max_iter=3, tol=None, verbose=verbose, random_state=0)
        model.fit((X - X.mean(axis=0)) / X.std(axis=0), y)
        out, err = capsys.readouterr()
        texts.append((len(out.splitlines()), re.sub(r" +[0-9.]+s", " S", err)))
    assert texts[0] == texts[1]
    assert ("Done   3 out of   3 | elapsed: S finished" in texts[0][1]) == (verbose > 0)
