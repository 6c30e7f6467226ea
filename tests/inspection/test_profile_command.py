"""fastfit profile-batch-size as people meet it: in a terminal, in a pipe, and with mistakes in what they type."""

import json
import re

import numpy as np
import pytest

from fastfit import cli
from fastfit.inspection.data_files import load_table
from tests.test_cli import CONTROL, run_in_terminal, run_process

QUICK = ["--batch-sizes", "16,256", "--epochs", "2", "--repeats", "1"]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def table(tmp_path):
    """A CSV file of 60 rows: two columns of numbers, one of text, classes and a number to predict."""
    rng = np.random.default_rng(0)
    lines = ["height,weight,city,kind,price"]
    for i in range(60):
        a, b = rng.normal(size=2)
        lines.append(f'{a:.4f},{b:.4f},"Rome, Italy",{"ab"[i % 2]},{a + b:.4f}')
    return write(tmp_path / "people.csv", "\n".join(lines) + "\n")


def run(*arguments):
    try:
        return cli.main(["profile-batch-size", *arguments])
    except SystemExit as stopped:
        return stopped.code


def test_digits_in_a_pipe(tmp_path, capsys):
    target = tmp_path / "profile.json"
    assert (
        run("--data", "digits", "--model", "mlp", "--hidden", "20", "10", *QUICK, "--json", str(target)) == 0
    )
    output = capsys.readouterr().out
    assert not CONTROL.search(output), "no colours and no progress bar in a pipe"
    assert max(map(len, output.splitlines())) <= 100 + len(str(target))
    assert "MLPClassifier on 1,437 training samples x 64" in output
    assert re.search(r"^ +16 .* L\d|^ +16 .* memory", output, re.MULTILINE)
    assert f"Written: {target}" in output
    content = json.loads(target.read_text())
    assert [row["batch_size"] for row in content["rows"]] == [16, 256]
    assert content["recommendation"].split()[0] in output


def test_a_picture_is_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "profile.png"
    assert run("--data", "diabetes", "--model", "sgd", *QUICK, "--plot", str(picture)) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"Drawn: {picture}" in capsys.readouterr().out


def test_a_table_of_the_user(table, capsys):
    arguments = ["--data", table, "--target", "price", "--drop", "city", "kind", "--model", "linear"]
    assert run(*arguments, "--batch-sizes", "4", "8", "--epochs", "3", "--repeats", "1") == 0
    assert "LinearRegression on 48 training samples x 2" in capsys.readouterr().out
    assert run("--data", table, "--target", "kind", "--drop", "city", *QUICK[:1], "8", *QUICK[2:]) == 0
    assert "MLPClassifier on 48 training samples x 3" in capsys.readouterr().out


def test_an_unreachable_target(capsys):
    assert (
        run("--data", "iris", "--target-score", "2", "--model", "sgd", "--batch-sizes", "8", *QUICK[2:]) == 0
    )
    assert "was not reached with any batch size" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: --data"),
        (["--data", "no.csv", "--target", "y"], "no such file: no.csv"),
        (
            ["--data", "digits", "--batch-sizes", "0"],
            "between 1 and 1437, the number of training samples, got 0",
        ),
        (["--data", "digits", "--batch-sizes", "1438"], "got 1438"),
        (["--data", "digits", "--batch-sizes", "some"], "must be whole numbers, got 'some'"),
        (["--data", "digits", "--target", "y"], "digits is a bundled data set with its own target"),
        (["--data", "digits", "--model", "RandomForestClassifier"], "RandomForestClassifier has no batches"),
        (["--data", "digits", "--model", "cnn"], "unknown model 'cnn'"),
        (["--data", "digits", "--model", "config_context"], "unknown model 'config_context'"),
        (
            ["--data", "digits", "--model", "linear"],
            "the target holds classes, which LinearRegression does not",
        ),
        (["--data", "diabetes", "--model", "SGDClassifier"], "the target holds numbers"),
        (["--data", "digits", "--model", "sgd", "--hidden", "9"], "SGDClassifier has no hidden layers"),
        (["--data", "digits", "--epochs", "0"], "epochs must be an integer of at least 1"),
        (["--data", "digits", "--plot", "nowhere/profile.png"], "no such folder for nowhere/profile.png"),
        (["--data", "digits", "--json", "."], ". is a folder"),
        (["--data", "digits", "--learning-rate", "-1"], "learning_rate_init"),
        (["--data", "digits", "--target-loss", "1", "--target-score", "1"], "both given"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, complaint, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("fastfit")


@pytest.mark.parametrize(
    ("text", "target", "complaint"),
    [
        ("a,city,y\n1,Rome,2\n", "y", "column 'city' of {} holds text ('Rome' in row 2)"),
        ("a,b,y\n1,2,3\n1,,3\n", "y", "column 'b' of {} is empty in row 3"),
        ("a,b,y\n1,2,3\n1,nan,3\n", "y", "column 'b' of {} holds nan in row 3"),
        ("a,b,y\n1,2\n", "y", "row 2 of {} has 2 values, and the header 3"),
        ("a,b,y\n1,2,3\n", "z", "{} has no column 'z'; there are: a, b, y."),
        ("a,a,y\n1,2,3\n", "y", "{} has two columns named 'a'"),
        ("1,2,3\n1,2,3\n", "3", "the first row of {} must name the columns"),
        ("", "y", "{} is empty"),
        ("y\n1\n", "y", "{} has no columns beside the target 'y'"),
        ("a,y\n", "y", "{} has no rows below its header"),
        ("a,y\n1,nan\n2,3\n", "y", "the target 'y' of {} has missing values, the first in row 2"),
        ("a,y\n1,2\n", None, "name the column of {} to predict with --target"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_tables_that_cannot_be_used(text, target, complaint, tmp_path):
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        load_table(path, target)
    assert complaint.format(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tables_that_can_be_used(table, tmp_path):
    X, y, is_classification = load_table(table, "price", ["city", "kind"])
    assert (X.shape, X.dtype, is_classification) == ((60, 2), np.float64, False)
    np.testing.assert_allclose(X.sum(axis=1), y, atol=1e-3)
    X, y, is_classification = load_table(table, "kind", ["city"])
    assert (X.shape, set(y), is_classification) == ((60, 3), {"a", "b"}, True)
    numbered = write(tmp_path / "numbers.csv", "\ufeffa,y\n" + "".join(f"{i},{i % 3}\n" for i in range(30)))
    X, y, is_classification = load_table(numbered, "y")
    assert (y.dtype, is_classification) == (np.int64, True)
    assert X[:, 0].tolist() == list(range(30))


@pytest.mark.slow
def test_terminal_gets_a_progress_bar_that_is_wiped():
    code, output = run_in_terminal(
        "profile-batch-size", "--data", "digits", "--model", "sgd", *QUICK, columns=100
    )
    assert code == 0, output
    assert "\x1b[?25h" in output, "the cursor must be shown again"
    assert re.search(r"\d/4", output), "the bar counts"
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output)
    assert "SGDClassifier on 1,437 training samples x 64: speed" in plain


@pytest.mark.slow
def test_process_in_a_pipe_with_a_plain_encoding():
    finished = run_process("profile-batch-size", "--data", "iris", "--batch-sizes", "8", "--epochs", "1",
                           "--repeats", "1", PYTHONIOENCODING="ascii")  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert not CONTROL.search(finished.stdout)
