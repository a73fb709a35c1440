"""Export of a student or a teacher: a folder that other tools load, with a model card.

The folder is an artifact: it is made whole or not at all, its manifest.json has the sha256 of its
files, and it is replaced only with ``--force``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clir_cli import runtime
from clir_cli.artifacts import graph
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.manifest import read_manifest
from clir_cli.artifacts.spec import Ref
from clir_cli.artifacts.store import Artifact
from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import load_collection
from clir_cli.errors import UserError
from clir_cli.exchange.card_scores import card_scores
from clir_cli.exchange.folders import exporting
from clir_cli.exchange.model_card import Card, text_of
from clir_cli.exchange.multi_vector import Lengths, write_model
from clir_cli.files import digest, write_text
from clir_cli.retrieval.checkpoints import SIDES, TextFormat, TextKind, read_checkpoint
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.models import model_digest
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.used_models import UsedModel, student_of, teacher_of
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report.made import neutral_command

CARD = "README.md"


def export_student(workspace: Workspace, ref: Ref, folder: Path, results: Path) -> Path:
    """Write the student of a run into a folder, and return it.

    Args:
        workspace: Where the student lies, and the settings of its queries.
        ref: The run that the student encodes the queries of.
        folder: Where to write.
        results: The folder of score tables; scores of the student's present runs are in the card.

    Raises:
        MissingInput: There is no student; the message has the command that makes it.
        UserError: The method has no student, the student is damaged or cannot be expressed, or
            something else is in the folder.
    """
    cell = ref.cell
    if not METHODS[cell.method].has_student:
        having = ", ".join(name for name, method in METHODS.items() if method.has_student)
        raise UserError(f"method {cell.method} has no student; methods that have: {having}")
    student = student_of(workspace.settings, ref.pair, cell)
    source = UsedModel(student).folder(workspace)
    manifest = read_manifest(source)
    encoder = _open(workspace, source)
    scored = card_scores(workspace, ref, source, results)
    export = Command("export student", tuple(cell.options(*ref.pairs)), (str(folder),))
    shown = graph.with_settings(workspace, export, student, neutral=False)
    card = _card(
        workspace,
        encoder,
        kind="query",
        role="student",
        method=cell.method,
        pairs=cell.joint or ref.pairs,
        **_names(manifest["config"]),
        notes=manifest.get("notes") or {},
        scores=scored.scores,
        left_out=scored.left_out,
        sources=_sources(manifest["config"]),
        commands=[
            manifest["command"],
            *scored.commands,
            str(shown),
            _teacher_command(workspace, "teacher"),
        ],
        examples=_examples(workspace, ref),
    )
    return _write(workspace, folder, encoder, card, model_digest(source), str(shown))


def export_teacher(workspace: Workspace, folder: Path) -> Path:
    """Write the teacher, which encodes the documents of all students, into a folder; return it.

    Raises:
        MissingInput: It has not been fetched or trained.
        UserError: It is damaged, is in a format that other tools load already, or something else is
            in the folder.
    """
    teacher = teacher_of(workspace.settings)
    source = teacher.folder(workspace)
    checkpoint = read_checkpoint(source)
    query, document = (checkpoint.text_format.prefix(side) for side in SIDES)
    is_plain = checkpoint.text_format == TextFormat(query, document)
    if checkpoint.stanford or checkpoint.layers or not is_plain:
        raise UserError(
            f"the teacher {source} is in a format that sentence-transformers and PyLate load "
            "already; give them that folder"
        )
    encoder = centred_teacher(workspace, _open(workspace, source))
    shown = _teacher_command(workspace, str(folder))
    card = _card(
        workspace,
        encoder,
        kind="document",
        role="teacher",
        commands=[shown],
        examples=_examples(workspace, None),
    )
    return _write(workspace, folder, encoder, card, model_digest(source), shown)


def _teacher_command(workspace: Workspace, folder: str) -> str:
    command = Command("export teacher", (), (folder,))
    return str(graph.with_settings(workspace, command, workspace.ref("index"), neutral=False))


def _open(workspace: Workspace, source: Path) -> Encoder:
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    return open_encoder_at(workspace, source, device, tokens=1024)


def _card(
    workspace: Workspace,
    encoder: Encoder,
    *,
    kind: TextKind,
    commands: Sequence[str],
    **known: Any,
) -> Card:
    settings = workspace.settings
    prefix = encoder.text_format.prefix
    plain: dict[str, Any] = {"method": "", "pairs": (), "initial": ""}
    return Card(
        **{"teacher": settings.teacher.model, **plain, **known},
        commands=[_neutral(command) for command in commands],
        dimensions=encoder.dimensions,
        lengths=_lengths(workspace, encoder),
        prompts={"query": prefix("query"), "document": prefix("document")},
        centred=kind in encoder.centres,
        version=runtime.versions()["clir-cli"],
        confidence=settings.evaluation.confidence,
    )


def _lengths(workspace: Workspace, encoder: Encoder) -> tuple[int, int]:
    teacher = workspace.settings.teacher
    query = encoder.limit(teacher.query_tokens, "sentence")
    return query, encoder.limit(teacher.document_tokens, "document")


def _write(
    workspace: Workspace, folder: Path, encoder: Encoder, card: Card, source: str, command: str
) -> Path:
    text = text_of(card)
    inputs = {card.role: source, "card": digest(text)}
    config = {"role": card.role, "lengths": list(card.lengths)}
    artifact = Artifact(folder, "export", config, inputs, command)
    side: TextKind = "query" if card.role == "student" else "document"
    with exporting(workspace, artifact) as draft:
        if draft is None:
            return folder
        write_model(draft, encoder, side, Lengths(*card.lengths))
        write_text(draft / CARD, text)
    workspace.talk.say(f"{folder}: {card.role} for sentence-transformers"
                       f"{'' if card.centred else ' and PyLate'}, with a model card")  # fmt: skip
    return folder


def _sources(config: Mapping[str, Any]) -> list[str]:
    """Return the sources of bitext that a student's manifest names."""
    bitext = config.get("bitext") or {}
    return [*bitext.get("sources", ()), *["files"] * bool(bitext.get("files"))]


def _names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the teacher and the initial student that a student's manifest names."""
    teacher = str(config["teacher"]["model"])
    initial = str(config["student"]["model"])
    return {"teacher": teacher, "initial": teacher if initial == "teacher" else initial}


def _examples(workspace: Workspace, ref: Ref | None) -> tuple[str, str]:
    """Return a query and a document that answers it: of the sample, as far as it has any."""
    language = ref.pair.query if ref is not None else "en"
    has_language = catalogue.sources("collections")["sample"].has(language)
    sample = load_collection("sample", language if has_language else "en", workspace.downloads)
    query = next(iter(sample.qrels))
    document = next(iter(sample.qrels[query]))
    texts: Mapping[str, str] = {entry.id: entry.full_text for entry in sample.documents}
    asked = sample.queries[language][query] if has_language else f"a query in {language}"
    return asked, texts[document].partition(". ")[2].partition(". ")[0] + "."


def _neutral(command: str) -> str:
    """Return a command without the folders of the machine it was made on."""
    parsed = neutral_command(command)
    own: Sequence[str] = ("--home", "--results", "--force")
    options = tuple(option for option in parsed.options if option[0] not in own)
    return str(Command(parsed.verb, options, parsed.arguments))
