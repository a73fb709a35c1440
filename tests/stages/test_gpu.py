"""Every stage on a GPU, and a library that must leave the GPU's memory alone."""

import subprocess
import sys

import pytest

METHODS = "zero-shot,rows,kd-mse,kd-greedy,kd-score,ot,ot+contrast,bm25,english"
PAIR = ("--lang", "sw-en")


@pytest.mark.gpu
@pytest.mark.parametrize("marginals", ["uniform", "norm"])
def test_the_chain_runs_on_a_gpu(clir, home, quick, marginals):
    masses = ("--set", f"transport.marginals={marginals}")
    options = ("--home", home, "--device", "cuda", *quick, *masses)
    trained = METHODS.split(",")[1:-2]
    for verb, *words in (
        ("distill", *PAIR, "--method", ",".join(trained)),
        ("dictionary", *PAIR),
        ("index",),
        ("search", *PAIR, "--method", METHODS),
        ("align", *PAIR, "habari ya dunia", "news of the world"),
    ):
        outcome = clir(verb, *words, *options)
        assert outcome.code == 0, outcome.err
    runs = list(home.glob("sample/sw-en/*/runs/small/run.trec"))
    assert len(runs) == len(METHODS.split(","))


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["monolingual", "code-switch", "hybrid", "augment"])
def test_a_recipe_trains_on_a_gpu(clir, home, quick, recipe):
    pair = () if recipe == "monolingual" else PAIR
    outcome = clir("train", "--recipe", recipe, *pair, "--home", home, "--device", "cuda", *quick)
    assert outcome.code == 0, outcome.err


def test_bm25_does_not_start_jax(tmp_path):
    (tmp_path / "jax").mkdir()
    marker = tmp_path / "started"
    (tmp_path / "jax" / "__init__.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from clir_cli.retrieval.bm25 import bm25_scores\n"
        "print(float(next(bm25_scores(['a b', 'b c'], ['c']))[1]) > 0, 'jax' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
    assert not marker.exists()
