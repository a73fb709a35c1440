"""The Python interface: its page, tried block by block, and what an import costs."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_encoders import tiny_bert

import clir_cli
from clir_cli.errors import UserError
from clir_cli.evaluation.runs import write_run

PAGE = (Path(__file__).resolve().parent.parent / "docs/python.md").read_text(encoding="utf-8")


@pytest.fixture
def after_the_demo(empty: Path, models: Path) -> Path:
    """What `make demo` leaves where the page's examples look: models, a student and its run."""
    (empty / "artifacts").mkdir()
    (empty / "artifacts" / "models").symlink_to(models)
    method = empty / "artifacts" / "sample" / "sw-en" / "ot"
    tiny_bert(method / "student", models, hidden=384)
    (method / "runs" / "sample").mkdir(parents=True)
    run = {"farming-q1": [("farming-02", 2.0), ("food-01", 1.0)]}
    write_run(method / "runs" / "sample" / "run.trec", run, tag="ot")
    return empty


def test_every_example_of_the_page_runs_after_the_one_before(after_the_demo, capsys) -> None:
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    assert len(blocks) == 5
    sentence, translation, plan = names["sentence"], names["translation"], names["plan"]
    assert plan.shape == (len(sentence), len(translation))
    uniform = torch.full((len(sentence),), 1 / len(sentence))
    torch.testing.assert_close(plan.sum(1), uniform, atol=1e-3, rtol=0)
    assert names["loss"].item() == pytest.approx(
        float((plan * (1 - sentence @ translation.T)).sum())
    )
    printed = capsys.readouterr().out
    assert re.search(r"MAP 0\.\d+ \[0\.\d+, 0\.\d+\]", printed)
    assert re.search(r"ot - zero-shot: -0\.\d+, p = ", printed)  # the student is random here
    for name in clir_cli.__all__:
        assert f"clir_cli.{name}(" in PAGE, "each name has an example"
        assert f"| `{name}(" in PAGE, "and a row in the table"


def test_maxsim_is_the_sum_of_each_query_tokens_best() -> None:
    query = torch.randn(3, 8)
    documents = [torch.randn(count, 8) for count in (1, 5)]
    expected = [float((query @ document.T).amax(dim=1).sum()) for document in documents]
    assert clir_cli.maxsim(query, documents).tolist() == pytest.approx(expected, abs=1e-5)


def test_the_table_of_the_page_has_the_parameters_of_each_function() -> None:
    for name in clir_cli.__all__:
        function = getattr(clir_cli, name)
        signature = inspect.signature(function)
        assert f"`{name}({', '.join(signature.parameters)})`" in PAGE
        assert function.__doc__
        annotations = [value.annotation for value in signature.parameters.values()]
        assert inspect.Signature.empty not in [*annotations, signature.return_annotation]


def test_importing_loads_nothing_and_settings_and_scores_no_torch() -> None:
    script = (
        "import sys, clir_cli\n"
        "loaded = {name for name in sys.modules if name.startswith('clir_cli')}\n"
        "assert loaded == {'clir_cli'}, loaded\n"
        "assert set(clir_cli.__all__) <= set(dir(clir_cli))\n"
        "clir_cli.load_settings('sample')\n"
        "clir_cli.score({'q': {'d': 1}}, {'q': {'d': 1.0}})\n"
        "clir_cli.load_collection('sample', 'sw')\n"
        "assert 'torch' not in sys.modules\n"
        "print(clir_cli.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{clir_cli.__version__}\n"


def test_what_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_everything'"):
        _ = clir_cli.load_everything


def test_what_the_caller_can_mend_is_told_in_one_line(empty: Path) -> None:
    for call, said in [
        (lambda: clir_cli.load_encoder("all-MiniLM-L6-v2"), "run clir download"),
        (lambda: clir_cli.load_encoder("all-MiniLM-L6"), "did you mean"),
        (lambda: clir_cli.load_bitext("sw-de"), "unknown pair"),
        (lambda: clir_cli.load_collection("no-such"), "unknown collection"),
        (lambda: clir_cli.score({"q": {"d": 1}}, {}, "ndgc"), "unknown metric"),
        (lambda: clir_cli.compare({"q": {"d": 1}}, {"a": {}}, "b"), "the baseline b is not"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
