"""What downloads will fetch: size, licence, and what the user must supply; nothing is fetched."""

from dataclasses import dataclass
from pathlib import Path

from clir_cli.artifacts import graph
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.catalogue import WEB
from clir_cli.corpus.transfer import sources
from clir_cli.retrieval import hub, models
from clir_cli.stages.download import found_size, is_there, required
from clir_cli.stages.support.workspace import Workspace

OFFLINE = "it is not here and the network is switched off (CLIR_OFFLINE or HF_HUB_OFFLINE)"


@dataclass(frozen=True)
class Part:
    """A file of data, or a model, that a download fetches.

    ``bring`` says what the user must supply, ``fault`` why it cannot be had now; ``bytes`` is 0 if
    the size is not known.
    """

    key: str
    source: str
    licence: str
    bytes: int
    there: bool
    path: Path
    url: str = ""
    bring: str = ""
    fault: str = ""


def parts_of(workspace: Workspace, ref: Ref) -> list[Part]:
    """Return what a download fetches; nothing is fetched.

    Raises:
        UserError: It cannot be known before a list of files is fetched, or a name is wrong.
    """
    if ref.kind == "model":
        return [_model_part(workspace, ref)]
    parts = []
    for file in required(workspace, [ref]):
        entry, url = file.entry, file.declared.url
        bring = "; ".join(file.lacking)
        fault = "it is not there" if bring else ""
        if url.startswith(WEB) and not any(sources(file.declared, workspace.mirror)):
            fault = OFFLINE
        size = file.size or found_size(file, workspace.mirror)
        parts.append(
            Part(
                f"{file.path} {file.declared.lang}", entry.name, entry.licence, size, file.there,
                file.path, url, bring, fault,
            )
        )  # fmt: skip
    return parts


def _model_part(workspace: Workspace, ref: Ref) -> Part:
    entry, path = models.model_entry(ref.name), graph.path_of(workspace, ref)
    packaged = entry.package is not None and models.packaged_file(entry.package) is not None
    fault = ""
    if entry.weights != hub.WEIGHTS and not workspace.settings.models.allow_pickle:
        fault = (
            f"its weights are pickled; if you trust it: --set models.allow_pickle={entry.weights}"
        )
    there, size = is_there(workspace, ref), 0 if packaged else entry.bytes
    return Part(str(path), ref.name, entry.licence, size, there, path, fault=fault)
