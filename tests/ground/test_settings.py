"""Settings: which layer wins, and what is said of a wrong key, kind or file."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.artifacts.command import assignment
from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings
from clir_cli.suites import bundled, known_keys, load_settings, suites, value_of

EPOCHS = st.integers(1, 1000)


@pytest.mark.parametrize("name", ["sample", "open", "paper"])
def test_a_suite_is_its_file_over_the_defaults(name: str) -> None:
    told = tomllib.loads((bundled("experiments") / "suites" / f"{name}.toml").read_text())
    loaded = load_settings(name)
    assert loaded.suite == name
    assert loaded.bitext.sources == tuple(told["bitext"]["sources"])
    assert loaded.training.epochs == told["training"]["epochs"]
    default = Settings(suite="x", collection="y").transport
    assert loaded.transport == default.model_copy(update=told.get("transport", {}))


def test_the_suite_of_a_multilingual_encoder_has_the_data_and_the_pairs_of_open() -> None:
    free, multilingual = load_settings("open"), load_settings("multilingual")
    assert multilingual.teacher.model == "multilingual-e5-small"
    for part in ("collection", "pairs", "bitext", "dictionary", "contrastive"):
        assert getattr(multilingual, part) == getattr(free, part), part


@given(config=st.none() | EPOCHS, assigned=st.lists(EPOCHS, max_size=3))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_set_beats_config_beats_suite_and_the_last_set_wins(
    tmp_path_factory: pytest.TempPathFactory, config: int | None, assigned: list[int]
) -> None:
    path = None
    if config is not None:
        path = tmp_path_factory.mktemp("config") / "own.toml"
        path.write_text(f"[training]\nepochs = {config}\n")
    loaded = load_settings("sample", path, [f"training.epochs={value}" for value in assigned])
    suite = load_settings("sample")
    layers = [suite.training.epochs, *([config] if config else []), *assigned]
    assert loaded.training.epochs == layers[-1]
    # Nothing beside it changes, in the section or out of it.
    assert loaded.model_copy(update={"training": suite.training}) == suite
    assert loaded.training.model_copy(update={"epochs": suite.training.epochs}) == suite.training


@pytest.mark.parametrize(
    ("assignment", "section", "name", "value"),
    [
        ("student.vocabulary=initial", "student", "vocabulary", "initial"),
        ('student.vocabulary="initial"', "student", "vocabulary", "initial"),
        (" student.vocabulary = initial ", "student", "vocabulary", "initial"),
        ("student.model=/a/b=c", "student", "model", "/a/b=c"),
        ("transport.eps=1e-2", "transport", "eps", 0.01),
        ("transport.eps=1", "transport", "eps", 1.0),
        ("training.epochs=1_000", "training", "epochs", 1000),
        ('bitext.files=["x.sw", "x.en"]', "bitext", "files", ("x.sw", "x.en")),
        ("bitext.files=[]", "bitext", "files", ()),
    ],
)
def test_a_value_is_toml_or_a_plain_word(
    assignment: str, section: str, name: str, value: object
) -> None:
    loaded = load_settings("sample", None, [assignment])
    assert getattr(getattr(loaded, section), name) == value


def test_a_config_may_add_a_section_that_the_suite_lacks(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('title = "mine"\n[transport]\neps = 0.2\n', encoding="utf-8")
    loaded = load_settings("sample", path)
    assert (loaded.title, loaded.transport.eps) == ("mine", 0.2)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (
            "training.epoch=3",
            "unknown setting training.epoch: did you mean training.epochs?",
        ),
        ("epochs=3", "training.epochs or monolingual.epochs or late_interaction.epochs or"),
        ("bitext.on_eror=skip", "did you mean bitext.on_error?"),
        ("trainig.epochs=3", "unknown section trainig: did you mean training?"),
        ("quux.z=3", "unknown section quux: known: teacher, student, bitext"),
        ("qqq=3", "unknown setting qqq: clir ls settings lists them"),
        ("eps=0.1", "unknown setting eps: did you mean transport.eps?"),
        ("epsilon=0.1", "unknown setting epsilon: did you mean transport.eps?"),
        ("training.lr=1", "did you mean training.learning_rate or training.lora_rank?"),
        ("topk=5", "unknown setting topk: did you mean search.top_k?"),
        ("batchsize=8", "did you mean training.batch_size or late_interaction.batch_size or"),
        ("temp=1", "did you mean objective.temperature or joint.temperature or"),
        ("training=5", "setting training: it is a section"),
        ("training.epochs.x=1", "epochs is a setting, not a section"),
        ("training.epochs=many", "setting training.epochs: input should be a valid integer"),
        ("training.epochs=2.5", "setting training.epochs"),
        ("training.epochs=0", "greater than or equal to 1 (got 0)"),
        ("training.epochs=", "setting training.epochs: input should be a valid integer"),
        ("transport.eps=0", "setting transport.eps"),
        ("transport.eps=inf", "setting transport.eps: input should be a finite number"),
        ("transport.eps=nan", "setting transport.eps: input should be a finite number"),
        ("training.warmup=1", "setting training.warmup"),
        ("student.vocabulary=whole", "should be 'words', 'subwords', 'both' or 'initial'"),
        ("student.model=3", "setting student.model: input should be a valid string (got 3)"),
        ("bitext.files=a.tsv", 'setting bitext.files: it is a list, write bitext.files=["a", "b"]'),
        ("bitext.files=[1]", "setting bitext.files.0: input should be a valid string (got 1)"),
        ("methods=[]", "setting methods"),
        ("training.epochs=1\ntitle='x'", "setting training.epochs: input should be"),
        ("training.epochs=" + "9" * 5000, "(got '999"),
        ("training.epochs=0x" + "f" * 5000, "(got a long number)"),
        ("title=" + "[" * 5000, "[[[[...: not valid TOML; put text in quotes"),
        ('title="a" # b', "not valid TOML; put text in quotes"),
        ("bitext.files=" + "[" * 40 + "]" * 40, "not valid TOML; put text in quotes"),
        ("index.memory=1e400", "setting index.memory: it is a size"),
        ('teacher.model="a\\u0000b"', "setting teacher.model: it has a zero byte"),
        ('bitext.files=["a\\u0000b"]', "setting bitext.files: it has a zero byte"),
        ("suite=open", "choose it with --suite"),
        ("training.epochs", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("", "write it as section.key=value"),
    ],
)
def test_a_wrong_assignment_is_told_with_the_right_name(assignment: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings("sample", None, [assignment])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epochs = [1,", "not valid TOML"),
        (b"title = '\xff'", "not valid TOML"),
        (b"[trainin]\nepochs = 2", "unknown section trainin: did you mean training?"),
        (b"[training]\nepochs = 'two'", "setting training.epochs"),
        (b"x = " + b"9" * 5000, "not valid TOML"),
        (b"x = " + b"[" * 5000, "not valid TOML: tables or lists in one another, too deeply"),
        (b"[" + b"a." * 5000 + b"a]\nx = 1", "not valid TOML: tables or lists in one another"),
        (b"training = 3", "setting training: it is a section"),
        (b"suite = 'open'", "choose it with --suite"),
        (None, "no such file"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "own.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_settings("sample", path)
    assert said in str(caught.value)


def test_a_folder_as_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_settings("sample", tmp_path)


def test_an_unknown_suite_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown suite 'smaple': did you mean sample\?"):
        load_settings("smaple")
    with pytest.raises(UserError, match="known: " + ", ".join(suites())):
        load_settings("zzz")
    with pytest.raises(UserError, match="unknown suite"):  # a name, not a path
        load_settings("../suites/sample")


def test_every_number_has_an_upper_bound() -> None:
    for key in known_keys():
        value = value_of(load_settings("sample"), key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            with pytest.raises(UserError, match=rf"setting {key}: input should be less than"):
                load_settings("sample", None, [f"{key}={10**20}"])
            with pytest.raises(UserError, match=f"setting {key}: "):
                load_settings("sample", None, [f"{key}=1e20"])


@pytest.mark.parametrize("text", ["3#a", "# a", "1, 2", "a\nb", "O'B", "1\n]"])
def test_a_text_that_is_no_value_stays_whole(text: str) -> None:
    assert load_settings("sample", None, [f"title={text}"]).title == text
    assert assignment("title", text) == f"title={text}"
    assert assignment("title", f"[{text}") == f"title={json.dumps(f'[{text}')}"


def test_every_known_key_can_be_set_and_settings_are_frozen() -> None:
    settings = load_settings("sample")
    loaded = settings.model_dump(mode="json")
    assert len(known_keys()) > 30
    for key in known_keys():
        value = settings
        for part in key.split("."):
            value = getattr(value, part)
        value = list(value) if isinstance(value, tuple) else value
        again = load_settings("sample", None, [f"{key}={_toml(value)}"])
        assert again.model_dump(mode="json") == loaded, key
    with pytest.raises(ValueError, match="frozen"):
        load_settings("sample").training.epochs = 3  # type: ignore[misc]


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


@given(st.lists(st.text("abc-", min_size=1, max_size=6), min_size=1, unique=True), st.data())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_the_nearest_name_is_always_a_known_one(known: list[str], data: st.DataObject) -> None:
    typed = data.draw(st.text("abcz-", max_size=6))
    hint = nearest(typed, iter(known))
    assert hint in {f"did you mean {name}?" for name in known} | {f"known: {', '.join(known)}"}
    assert nearest(known[0], known) == f"did you mean {known[0]}?"


@pytest.mark.parametrize(
    "assignment",
    [
        "transport.eps=1e-6", "transport.eps=1e300", "transport.tolerance=1e-9",
        "objective.temperature=1e-9", "contrastive.temperature=1e-9", "training.clip=1e-39",
        "training.learning_rate=1e-40", "monolingual.learning_rate=1e-40",
        "augment.learning_rate=1e40", "objective.pooled_weight=1e31",
    ],
)  # fmt: skip
def test_numbers_that_float32_cannot_hold_are_refused_by_name(assignment):
    name = assignment.partition("=")[0]
    with pytest.raises(UserError, match=rf"setting {name}: input should be .*\(got ") as refused:
        load_settings("sample", None, [assignment])
    assert "\n" not in str(refused.value)
