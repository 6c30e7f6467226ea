"""``fastfit tune``: a search from the command line, and mistakes in what is typed."""

import csv

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

from fastfit import cli
from fastfit.tune import MODELS, make_search, parse_params, read_table


@pytest.fixture
def iris_file(tmp_path):
    data = load_iris()
    return write(
        tmp_path / "iris.csv", [*data.feature_names, "kind"], data.data, data.target_names[data.target]
    )


def write(path, names, X, y):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([*row, target] for row, target in zip(X, y, strict=True))
    return str(path)


def tune(*arguments):
    return cli.main(["tune", *map(str, arguments)])


def test_tune_shows_the_candidates_and_keeps_the_best(iris_file, tmp_path, capsys):
    out = tmp_path / "best.joblib"
    code = tune(
        iris_file,
        "--target",
        "kind",
        "--model",
        "random_forest",
        "--param",
        "n_estimators=2,5,9",
        "--cv",
        3,
        "--out",
        out,
    )
    printed = capsys.readouterr().out
    assert code == 0
    assert "150 rows of 4 columns, kind: classes" in printed
    assert "3 candidates: 3 fits in place of 9 (27 trees in place of 48)" in printed
    model = joblib.load(out)
    assert type(model).__module__.startswith("fastfit.")
    assert f"best: n_estimators={model.n_estimators}" in printed
    X, y = load_iris(return_X_y=True)
    assert (model.predict(X) == load_iris().target_names[y]).mean() > 0.9


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_default_grid_that_fits(model, iris_file):
    table = read_table(iris_file, "kind")
    search, grid = make_search(model, table, {})
    assert grid == MODELS[model].grid
    few = {name: values[:1] for name, values in search.param_grid.items()}
    search.set_params(param_grid=few, cv=2).fit(table.X, table.y)
    assert search.best_score_ > 0.3


def test_numbers_missing_fields_and_columns_left_out(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    X = X[:30, :2].astype(object)
    X[3, 0] = ""
    path = write(tmp_path / "d.csv", ["age", "name", "y"], [[a, "text"] for a, _ in X], y[:30] + 0.5)
    table = read_table(path, "y", ["name"])
    assert not table.is_classification
    assert table.names == ["age"]
    assert np.flatnonzero(np.isnan(table.X[:, 0])).tolist() == [3]
    with pytest.raises(ValueError, match="'name' holds text"):
        read_table(path, "y")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.csv", "--target", "kind"], "nowhere.csv"),
        (["IRIS", "--target", "nothing"], "no column 'nothing'"),
        (["IRIS", "--target", "kind", "--model", "oracle"], "no model 'oracle'"),
        (["IRIS", "--target", "kind", "--param", "depth=3"], "no hyperparameter 'depth'"),
        (["IRIS", "--target", "kind", "--param", "max_iter"], "expected NAME=V1,V2"),
        (["IRIS", "--target", "kind", "--metric", "luck"], "no metric 'luck'"),
        (["IRIS", "--target", "kind", "--cv", "1"], "--cv 1"),
        (["IRIS", "--target", "kind", "--out", "no/such/folder/x.joblib"], "no folder"),
        (["IRIS", "--target", "kind", "--param", "max_iter=-3", "--cv", "2"], "max_iter"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, complaint, iris_file, capsys):
    code = tune(*(iris_file if argument == "IRIS" else argument for argument in arguments))
    error = capsys.readouterr().err
    assert code == 2
    assert complaint in error
    assert len(error.strip().splitlines()) == 1


def test_values_are_numbers_where_they_can_be():
    assert parse_params(["a=1,2.5,None,True,gini"]) == {"a": [1, 2.5, None, True, "gini"]}
