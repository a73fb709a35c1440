"""What each setting reaches, and commands that make the very artifact that shows them."""

import json
import shlex
from typing import Literal, get_args, get_origin

import pytest
from tiny_encoders import tiny_bert

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command, assignment
from clir_cli.corpus.records import Pair
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import known_keys, load_settings, matches, value_of

SW = (Pair("sw", "en"),)
# Settings that change nothing that is saved.
UNSAVED = (
    "cluster", "index.batch_tokens", "index.memory", "models", "training.checkpoint_steps",
    "training.gradient_checkpointing", "training.halve", "training.shard",
)  # fmt: skip
# Those, options and labels of a suite, and sections that only recipes, translations or score
# tables read.
NOWHERE = (
    *UNSAVED, "title", "collection", "methods", "pairs",
    "contrastive", "monolingual", "late_interaction", "augment", "nmt", "evaluation", "joint",
)  # fmt: skip
BITEXT = ("teacher", "student", "bitext", "training")
DISTILLED = (*BITEXT, "objective.anchor")
CACHES = ("teacher-embeddings", "document-embeddings", "lexicons", "token-ids")
INDEX = (
    "teacher.model", "teacher.document_tokens", "teacher.own_lengths", "teacher.centre", "index",
)  # fmt: skip
RUN = ("teacher.query_tokens", "search.top_k")
# Artifact -> what makes it stale, or what it is made from, which is then refused.
REACHED = {
    ("student", "ot"): (*DISTILLED, "transport"),
    ("student", "ot+pooled"): (*DISTILLED, "transport", "objective.pooled_weight"),
    ("student", "ot+score"): (
        *DISTILLED, "transport", "objective.score_weight", "objective.temperature",
    ),
    ("student", "ot+contrast"): (
        *DISTILLED, "transport", "objective.contrast_weight", "objective.temperature",
    ),
    ("student", "kd-mse"): DISTILLED,
    ("student", "kd-score"): (*DISTILLED, "objective.temperature"),
    ("student", "rows"): (*BITEXT, "transport"),
    ("student", "code-switch"): (
        *BITEXT, "contrastive.collection", "contrastive.queries", "contrastive.sentences",
        "contrastive.temperature", "contrastive.negatives", "contrastive.share",
        "contrastive.switching", "contrastive.lexicon", "contrastive.least_dice",
        "dictionary.sources", "dictionary.files", "dictionary.on_error", "dictionary.least_score",
    ),
    ("student", "hybrid"): (
        *BITEXT, "contrastive.collection", "contrastive.queries", "contrastive.sentences",
        "contrastive.temperature", "contrastive.negatives", "contrastive.alpha",
    ),
    ("dictionary", "ot"): (*DISTILLED, "transport"),  # through the student
    ("dictionary", "kd-mse"): (*DISTILLED, "transport"),  # the plans are the dictionary's own
    ("index", ""): INDEX,
    ("run", "ot"): (*INDEX, *RUN, "search.candidates", *DISTILLED, "transport"),
    ("run", "zero-shot"): (
        *INDEX, *RUN, "search.candidates", "student.model", "student.layers",
    ),
    ("run", "english"): (*INDEX, *RUN, "search.candidates"),
    ("run", "bm25"): RUN,
    ("run", "dictionary-bm25"): (
        *RUN, "dictionary.sources", "dictionary.files", "dictionary.induced",
        "dictionary.least_score", "dictionary.translations",
        *DISTILLED, "transport",  # through the dictionary that the plans of ot induce
    ),
    ("run", "fusion"): (*RUN, "fusion", *INDEX, "search.candidates", *DISTILLED, "transport"),
}  # fmt: skip
# What a setting is set to, where one up, half, or another choice would not do.
OTHER = {
    "bitext.sources": ["tatoeba"], "bitext.files": ["own.tsv"], "dictionary.files": ["own.tsv"],
    "dictionary.sources": ["tico-19"], "contrastive.collection": "small",
    "fusion.runs": ["zero-shot", "bm25"], "student.rows": "dice", "contrastive.lexicon": "given",
    "bitext.duplicates": "query", "index.memory": "9GB", "models.allow_pickle": "a.bin",
    "nmt.model": "someone/tiny", "training.warmup": 0.3, "dictionary.least_score": 0.4,
    "contrastive.least_dice": 0.4, "evaluation.confidence": 0.9, "augment.share": 0.3,
    "training.precision": "bfloat16", "training.freeze": "embeddings",
    "augment.files": ["own.txt"], "search.candidates": 20,
}  # fmt: skip


def other_value(key: str) -> object:
    """Return a valid value that differs from the suite's."""
    if key in OTHER:
        return OTHER[key]
    model, _, name = key.rpartition(".")
    fields = type(value_of(load_settings("sample"), model) if model else load_settings("sample"))
    value, kind = value_of(load_settings("sample"), key), fields.model_fields[name].annotation
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return value[:1] if len(value) > 1 else [*value, "sw-en"]
    if isinstance(value, int):
        return value + 9
    if isinstance(value, float):
        return value + 1 if value >= 1 else value / 2 or 0.5
    return f"{value}x"


@pytest.fixture
def made(clir, quick, home):
    """Make small artifacts of every kind; return their settings."""
    given = [word.partition("=")[2] and word for word in quick if word != "--set"]
    methods = "ot,ot+pooled,ot+score,ot+contrast,kd-mse,kd-score,rows"
    for words in (
        ("distill", "--method", methods),
        ("train", "--recipe", "code-switch"),
        ("train", "--recipe", "hybrid"),
        ("dictionary", "--method", "ot"),
        ("dictionary", "--method", "kd-mse"),
        ("search", "--method", "ot,zero-shot,english,bm25,dictionary-bm25,fusion"),
    ):
        if words[0] == "search":
            assert clir("index", *quick, "--home", home).code == 0
        outcome = clir(*words, "--lang", "sw-en", *quick, "--home", home)
        assert outcome.code == 0, outcome.err
    return given


def test_each_setting_makes_stale_what_it_reaches_and_nothing_else(
    made, home, models, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"neno {n}\tword {n}\n" for n in range(40))
    (tmp_path / "own.tsv").write_text(rows, encoding="utf-8")
    OTHER["teacher.model"] = str(tiny_bert(tmp_path / "other-teacher", models, seed=7))
    OTHER["student.model"] = str(tiny_bert(tmp_path / "other-student", models, seed=8))
    wrong: list[str] = []
    for key in known_keys():
        settings = load_settings("sample", None, [*made, assignment(key, other_value(key))])
        workspace = Workspace(settings, home)
        for (kind, method), prefixes in REACHED.items() if key != "collection" else ():
            ref = workspace.ref(kind, SW if method else (), Cell(method))
            try:
                state = graph.resolve(workspace, ref).state()
            except Exception as error:  # an input of the other value is not there: not current
                state = f"stale: {error}"
            expected = matches(key, prefixes) and not matches(key, UNSAVED)
            if key == "teacher.centre":  # what follows from a centred teacher has its own folder
                assert "teachers/centred" in str(graph.path_of(workspace, ref))
            elif state.startswith("stale") != expected or state == "missing":
                wrong.append(f"{key}={other_value(key)}: {kind} {method} is {state}")
            # A setting that decides what is saved is known to reach it, so that grids name it.
            if expected and key not in graph.reach(ref):
                wrong.append(f"{key} is not said to reach {kind} {method}")
    assert not wrong, "\n".join(wrong)


def test_the_recorded_command_of_every_artifact_makes_that_artifact(
    clir, reproduce, experiment, home
):
    text = (
        'title = "t"\nquestion = "?"\nmetrics = ["map"]\n[grid]\npairs = ["sw-en"]\n'
        'methods = ["ot", "kd-mse", "kd-score", "fusion", "dictionary-bm25"]\n'
        '"transport.eps" = [0.05, 0.2]\n"objective.temperature" = [0.05, 0.1]\n'
    )
    outcome = reproduce(experiment(text=text))
    assert outcome.code == 0, outcome.err
    manifests = [
        json.loads(path.read_text())
        for path in sorted(home.rglob("manifest.json"))
        if "experiments" not in path.parts and "models" not in path.parts
    ]
    kinds = {manifest["kind"] for manifest in manifests}
    assert {"student", "index", "run", "dictionary"} <= kinds
    # eps reaches ot alone and the temperature kd-score alone: no twins.
    labels = {path.parent.parent.name for path in home.rglob("student/manifest.json")}
    assert {"ot.eps0.2", "kd-score.temperature0.1"} <= {
        name.replace("objective_", "") for name in labels
    }
    assert not [label for label in labels if label.startswith("kd-mse.")]
    assert len(labels) == 5
    for manifest in manifests:
        if manifest["kind"] in CACHES:
            continue  # the command makes them on its way
        words = shlex.split(manifest["command"])[1:]
        rows = clir(*words, "--dry-run", "--json").json
        own = [row for row in rows if row["fingerprint"] == manifest["fingerprint"][:16]]
        assert [row["state"] for row in own] == ["current"], (manifest["command"], rows)
        assert str(Command.parse(manifest["command"])) == manifest["command"]
