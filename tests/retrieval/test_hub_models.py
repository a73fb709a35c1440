"""Models by their name on the hub: fetched as all files are, from a tree laid out as the hub."""

import json
import shutil
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from huggingface_hub import constants
from local_server import serving
from safetensors.torch import load_file
from tiny_encoders import tiny_bert
from transformers import BertModel
from unruly_server import Reply, Server

from clir_cli.errors import MissingInput, UserError
from clir_cli.retrieval import hub
from clir_cli.retrieval import models as named
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.stages.download import fetch_model
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

CPU = torch.device("cpu")
NAME = "someone/tiny"
NO_WEIGHTS = "\2" + 7 * "\0" + "{}"  # a safetensors file without tensors


@pytest.fixture(scope="module")
def tiny(models: Path, tmp_path_factory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("published"), models)


@pytest.fixture
def publish(tiny, tmp_path):
    """Lay a model out as the hub does, under mirror/<host>/<repo>/resolve/<revision>/<file>."""

    def lay(revision="main", weights="single", extra=()) -> Path:
        mirror = tmp_path / "mirror"
        folder = mirror / "huggingface.co" / NAME / "resolve" / revision
        folder.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((tiny / name).read_bytes())
        if weights == "single":
            (folder / hub.WEIGHTS).write_bytes((tiny / hub.WEIGHTS).read_bytes())
        elif weights == "shards":
            BertModel.from_pretrained(tiny, add_pooling_layer=False).save_pretrained(
                folder, max_shard_size="1MB"
            )
        elif weights == "pickled":
            torch.save(load_file(tiny / hub.WEIGHTS), folder / "pytorch_model.bin")
        for name, text in extra:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return mirror

    return lay


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no-such-cache"))
    for name in ("CLIR_CACHE", "CLIR_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def workspace(tmp_path: Path, *assignments: str) -> Workspace:
    return Workspace(load_settings("sample", None, assignments), tmp_path / "home")


def download_model(space: Workspace, name: str, mirror: str = "") -> Path:
    return fetch_model(replace(space, mirror=mirror), space.ref("model", name=name))


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_model_of_the_hub_becomes_an_artifact_with_sha256_and_size(publish, tmp_path, tiny):
    space = workspace(tmp_path)
    folder = download_model(space, NAME, str(publish()))
    assert folder == tmp_path / "home" / "models" / "someone--tiny"
    assert names(folder) == [
        "config.json", "manifest.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    recorded = json.loads((folder / "manifest.json").read_text())["files"]
    assert recorded["model.safetensors"]["bytes"] == (tiny / hub.WEIGHTS).stat().st_size
    assert torch.equal(
        load_encoder(folder, CPU).encode(["rain"], 9).vectors,
        load_encoder(tiny, CPU).encode(["rain"], 9).vectors,
    )
    assert download_model(space, NAME, "/no/such/mirror") == folder  # it is there: nothing is asked


def test_shards_come_by_their_index(publish, tmp_path, tiny):
    mirror = publish(weights="shards")
    folder = download_model(workspace(tmp_path), NAME, str(mirror))
    shards = [name for name in names(folder) if name.endswith(".safetensors")]
    assert len(shards) > 1
    assert torch.equal(
        load_encoder(folder, CPU).encode(["rain"], 9).vectors,
        load_encoder(tiny, CPU).encode(["rain"], 9).vectors,
    )
    second = tmp_path / "again"
    (mirror / "huggingface.co" / NAME / "resolve" / "main" / shards[1]).unlink()
    with pytest.raises(UserError, match=rf"{shards[1]} is not there"):
        download_model(workspace(second), NAME, str(mirror))
    assert not (second / "home" / "models" / "someone--tiny").exists()


def test_revisions_stand_side_by_side(publish, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    mirror = publish("abc123")
    folder = download_model(workspace(tmp_path), f"{NAME}@abc123", str(mirror))
    assert folder.name == "someone--tiny@abc123"
    with pytest.raises(UserError, match=r"main/config\.json is missing .*; not on the mirror"):
        download_model(workspace(tmp_path), NAME, str(mirror))


def test_a_mirror_without_the_model_leaves_it_to_the_other_sources(
    publish, tmp_path, tiny, monkeypatch
):
    """All files come from one source: two may have two versions."""
    cache = publish()
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    monkeypatch.setenv("CLIR_CACHE", str(cache))
    (tmp_path / "other").mkdir()
    folder = download_model(workspace(tmp_path), NAME, str(tmp_path / "other"))
    assert (folder / hub.WEIGHTS).read_bytes() == (tiny / hub.WEIGHTS).read_bytes()
    mirror = tmp_path / "partly"
    shutil.copytree(cache, mirror)
    (mirror / "huggingface.co" / NAME / "resolve" / "main" / hub.WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"no safetensors"):
        download_model(workspace(tmp_path / "again"), NAME, str(mirror))


def test_what_was_fetched_first_decides_ever_after(publish, tmp_path):
    mirror, space = publish(), workspace(tmp_path)
    folder = download_model(space, NAME, str(mirror))
    (folder / "tokenizer_config.json").write_text("{}")
    download_model(space, NAME, str(mirror))  # damaged here: fetched again
    assert (folder / "tokenizer_config.json").read_text() != "{}"
    (folder / "config.json").write_text("{}")
    changed = mirror / "huggingface.co" / NAME / "resolve" / "main" / "config.json"
    changed.write_text(changed.read_text() + "\n")
    with pytest.raises(UserError, match="the checksum does not match"):
        download_model(space, NAME, str(mirror))


def test_module_folders_come_too_and_stay_inside(publish, tmp_path):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "a.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "a.Dense"},
    ]
    extra = [
        ("modules.json", json.dumps(modules)), ("config_sentence_transformers.json", "{}"),
        ("1_Dense/config.json", "{}"), ("1_Dense/model.safetensors", NO_WEIGHTS),
        ("artifact.metadata", "{}"),
    ]  # fmt: skip
    mirror = publish(extra=extra)
    folder = download_model(workspace(tmp_path), NAME, str(mirror))
    assert {name for name, _ in extra} < set(names(folder))
    modules[1]["path"] = "../../outside"
    told = mirror / "huggingface.co" / NAME / "resolve" / "main" / "modules.json"
    told.write_text(json.dumps(modules))
    with pytest.raises(UserError, match="leads out of the model"):
        download_model(workspace(tmp_path / "second"), NAME, str(mirror))
    assert not list(tmp_path.rglob("outside"))


def test_pickled_weights_are_refused_until_the_file_is_named(publish, tmp_path, tiny):
    mirror = publish(weights="pickled")
    with pytest.raises(UserError, match=r"--set models\.allow_pickle=pytorch_model\.bin"):
        download_model(workspace(tmp_path), NAME, str(mirror))
    allowed = workspace(tmp_path, "models.allow_pickle=pytorch_model.bin")
    folder = download_model(allowed, NAME, str(mirror))
    assert "pytorch_model.bin" not in names(folder)  # its tensors are kept, as safetensors
    assert torch.equal(
        load_encoder(folder, CPU).encode(["rain"], 9).vectors,
        load_encoder(tiny, CPU).encode(["rain"], 9).vectors,
    )


def test_a_server_that_lacks_optional_files_is_no_error(publish, tmp_path):
    mirror = publish()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(mirror))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        folder = download_model(workspace(tmp_path), NAME, address)
        server.shutdown()
    assert "model.safetensors" in names(folder)


def test_the_hub_s_own_cache_is_used_without_network(tiny, tmp_path, monkeypatch):
    repository = tmp_path / "hf" / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", hub.WEIGHTS):
        (snapshot / name).symlink_to(tiny / name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = download_model(workspace(tmp_path), NAME)
    assert load_encoder(folder, CPU).dimensions == 32
    assert not any(path.is_symlink() for path in folder.iterdir())
    with pytest.raises(MissingInput, match="the network is switched off"):
        download_model(workspace(tmp_path), "someone/other")


def test_names_are_told_apart(tmp_path, monkeypatch, tiny):
    assert named.model_folder("org/name@v1/x", tmp_path).name == "org--name@v1--x"
    for wrong in ("/no/such/folder", "./here", "a/b/c", "../up", "plain"):
        with pytest.raises(UserError, match=r"unknown model .* or a folder"):
            named.model_folder(wrong, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "name").symlink_to(tiny)
    assert named.model_folder("org/name", tmp_path) == Path("org/name")  # a folder that is there


def test_a_configuration_without_end_is_refused(tmp_path):
    server = Server()
    path = f"/huggingface.co/{NAME}/resolve/main/config.json"
    server.plan(Reply(endless=True), path=path)
    with serving(server), pytest.raises(UserError, match=r"config\.json: longer than 16,777,216"):
        download_model(workspace(tmp_path), NAME, server.origin)
    names = ["config.json", "config.json.part"]
    assert not [path for path in tmp_path.rglob("*") if path.name in names]
