"""The catalogue of sources: every entry is complete, pinned and readable."""

import re
from pathlib import Path

import pytest

from clir_cli.corpus import catalogue
from clir_cli.corpus.formats import COLLECTION_READERS, DICTIONARY_READERS, PAIR_READERS
from clir_cli.errors import UserError
from clir_cli.suites import bundled, read_toml

SOURCES = [
    pytest.param(source, id=f"{kind}-{source.name}")
    for kind in ("bitext", "collections", "dictionaries")
    for source in catalogue.sources(kind).values()
]
READERS = {
    "bitext": PAIR_READERS,
    "collections": COLLECTION_READERS,
    "dictionaries": DICTIONARY_READERS,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_says_what_it_is_and_has_a_reader(source: catalogue.CatalogueEntry) -> None:
    assert source.format in READERS[source.kind]
    assert all([source.title, source.licence, source.homepage, source.citation])
    assert source.files or source.user_supplied or source.format == "irds"
    assert len({(file.path, file.lang) for file in source.files}) == len(source.files)


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_lies_in_the_package_or_is_pinned_by_commit_size_and_checksum(
    source: catalogue.CatalogueEntry,
) -> None:
    for file in source.files:
        if file.url.startswith("https://raw.githubusercontent.com/"):
            assert re.match(r"https://[^/]+/[^/]+/[^/]+/[0-9a-f]{40}/", file.url)
            assert file.bytes > 0
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        elif file.url:
            assert source.options["looked_up"], "without a commit, where was it found?"
            assert file.url.startswith("https://")
        else:
            assert file.local(Path("nowhere")).is_file()


@pytest.mark.parametrize("source", SOURCES)
def test_a_query_language_gets_its_own_files_and_the_shared_ones(
    source: catalogue.CatalogueEntry,
) -> None:
    spoken = {file.lang for file in source.files} - {"", "en"}
    assert all(re.fullmatch("[a-z]{2,3}", code) for code in spoken)
    for language in spoken:
        files = source.files_for(language)
        assert {file.lang for file in files} - {"", "en"} == {language}
        assert [file for file in source.files if file.lang in ("", "en")] == [
            file for file in files if file.lang in ("", "en")
        ]
    if source.kind != "collections":
        assert source.files_for("xx") == ()


def test_no_two_files_of_the_catalogue_fall_on_the_same_place() -> None:
    pins: dict[Path, set[tuple[str, int, str]]] = {}
    for source in (part.values[0] for part in SOURCES):
        for file in source.files:
            pin = (file.url, file.bytes, file.sha256)
            pins.setdefault(file.local(Path("home")), set()).add(pin)
    assert [place for place, known in pins.items() if len(known) > 1] == []


@pytest.mark.parametrize("kind", ["bitext", "collections", "dictionaries"])
def test_a_source_says_whether_its_licence_allows_commercial_use(kind: catalogue.Kind) -> None:
    for name, table in read_toml(bundled("data") / "catalogue" / f"{kind}.toml").items():
        assert table.get("terms") in ("open", "noncommercial", "unstated"), name
        assert kind != "bitext" or table.get("domain"), name
    forbidding = [
        s for s in catalogue.sources(kind).values() if re.search("-NC|non-comm", s.licence)
    ]
    assert [source.name for source in forbidding if source.terms == "open"] == []


@pytest.mark.parametrize("source", catalogue.sources("bitext").values(), ids=lambda s: s.name)
def test_files_in_two_languages_come_two_by_two(source: catalogue.CatalogueEntry) -> None:
    if source.format not in ("lines", "questions", "similarity"):
        return
    for language in set(source.languages) - {"en"}:
        roles = [file.role for file in source.files_for(language)]
        assert roles.count("query") == roles.count("english") == len(roles) / 2


def test_no_test_set_of_2019_trains() -> None:
    """The English of newstest2019 is NTREX's, line by line."""
    files = [file for source in catalogue.sources("bitext").values() for file in source.files]
    assert [file.url for file in files if "2019" in file.path] == []


def test_a_file_lies_under_its_url_without_the_scheme() -> None:
    file = catalogue.CatalogueFile("x.txt", "https://a.org/b/x.txt?raw=true")
    assert file.local(Path("home")) == Path("home/a.org/b/x.txt")
    bundled_file = catalogue.CatalogueFile("sample/bitext/sample.en.txt")
    assert bundled_file.local(Path("home")) == bundled("data") / "sample/bitext/sample.en.txt"


def test_a_model_is_pinned_by_revision_and_checksum() -> None:
    for model in catalogue.models().values():
        known_in_full = "no commit is known in full" not in model.looked_up
        assert bool(re.fullmatch("[0-9a-f]{40}", model.revision)) == known_in_full
        assert model.shape and model.bytes and model.licence and model.looked_up
        for file in model.files:
            assert file.url.startswith(f"https://huggingface.co/{model.repository}/resolve/")
            assert model.revision in file.url
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.bytes > 0


def test_the_official_weights_are_the_ones_that_are_accepted() -> None:
    weights = [
        file.sha256
        for file in catalogue.models()["all-MiniLM-L6-v2"].files
        if file.path == "model.safetensors"
    ]
    assert weights == ["53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"]


def test_the_seven_query_languages_are_there_in_two_groups() -> None:
    groups = {"low": ["sw", "so", "tl", "mr"], "high": ["fi", "de", "fr"]}
    for resource, codes in groups.items():
        found = [code for code, each in catalogue.languages().items() if each.resource == resource]
        assert found[: len(codes)] == codes, "the seven of OPTICAL come first"


def test_what_may_train_is_never_what_tests() -> None:
    train, test = (
        {
            file.url
            for source in catalogue.sources(kind).values()
            for file in source.files
            if file.url
        }
        for kind in ("bitext", "collections")
    )
    assert train
    assert test
    assert not train & test
    assert catalogue.source("bitext", "sib-200").options["train_below"] == 997


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("bitext", "tatoba", "did you mean tatoeba"),
        ("collections", "ntrx", "did you mean ntrex"),
        ("collections", "qqq", "known: sample, ntrex"),
    ],
)
def test_an_unknown_source_is_told_with_the_nearest_name(
    kind: catalogue.Kind, name: str, hint: str
) -> None:
    with pytest.raises(UserError, match=hint):
        catalogue.source(kind, name)
