"""The section on what the results depend on: training data, index, machine, versions."""

from clir_cli import runtime
from clir_cli.artifacts.manifest import machine_of
from clir_cli.console import size_text
from clir_cli.corpus import catalogue
from clir_cli.study.report.blocks import Block, Section, TableBlock, TableCell, number_cell
from clir_cli.study.report.data import Results
from clir_cli.study.report.made import Manifest
from clir_cli.study.report.provenance import distinct


def environment(results: Results) -> Section:
    """Return what the results depend on beside their settings, and what it took to make them."""
    blocks: list[Block] = [_training(results)] if results.made.students else []
    blocks += [_indexes(results)] if results.made.indexes else []
    text = "Numbers repeat on the same machine and versions; elsewhere last digits may differ."
    title = "Training data, index and machine"
    return Section("environment", title, text, [*blocks, _versions(results)])


def _training(results: Results) -> TableBlock:
    """Return what each student was trained on, where, and how long it took."""
    known = catalogue.sources("bitext")
    rows = []
    for student in results.made.students:
        notes = student.manifest.get("notes", {})
        sources = [
            f"{name} {count:,} ({known[name].licence if name in known else 'your own'})"
            for name, count in notes.get("sources", {}).items()
        ]
        rows.append(
            [
                TableCell(f"{student.pair}, {student.label}"),
                _count(notes.get("train_pairs")),
                TableCell(", ".join(sources) or "-"),
                TableCell(machine_of(student.manifest)),
                _minutes(student.manifest),
            ]
        )
    header = ["student", "trained on", "pairs read (licence)", "device", "minutes"]
    note = (
        "Trained on: sentence pairs, without those that choose the epoch and those that settings "
        "leave out. Minutes of the command that finished it."
    )
    return TableBlock("Training", header, rows, note)


def _indexes(results: Results) -> TableBlock:
    """Return the size of each index."""
    rows = []
    for index in results.made.indexes:
        config, notes = index.manifest["config"], index.manifest.get("notes", {})
        longest = config.get("passage_tokens") or config.get("document_tokens")
        rows.append(
            [
                TableCell(index.collection),
                _count(notes.get("documents")),
                _count(notes.get("tokens")),
                _count(notes.get("passages")),
                _count(0 if "passages" in notes else notes.get("documents_cut", 0)),
                number_cell(longest, str(longest)),
                number_cell(index.bytes, size_text(index.bytes)),
                TableCell(str(notes.get("format") or config.get("dtype", "-"))),
                TableCell(machine_of(index.manifest)),
                _minutes(index.manifest),
            ]
        )
    header = ["index of", "documents", "tokens", "passages", "cut documents", "at tokens", "size",
              "format", "device", "minutes"]  # fmt: skip
    note = (
        "Without passages a document is indexed whole, up to as many tokens as the teacher takes; "
        "one that is longer is cut there, and its rest is not found."
    )
    return TableBlock("Index", header, rows, note)


def _count(count: int | None) -> TableCell:
    return number_cell(count, f"{count:,}" if count is not None else "")


def _minutes(manifest: Manifest) -> TableCell:
    seconds = manifest.get("seconds")
    return number_cell(seconds, "" if seconds is None else f"{seconds / 60:.1f}")


def _versions(results: Results) -> TableBlock:
    now = {**runtime.hardware(), **runtime.versions()}
    made = distinct(
        {
            **student.manifest.get("hardware", {}),
            **student.manifest.get("versions", {}),
            "device": student.manifest.get("notes", {}).get("device", ""),
            "training precision": student.manifest.get("notes", {}).get("precision", ""),
        }
        for student in results.made.students
    )
    rows = [
        [TableCell(name), TableCell(" | ".join(filter(None, made.get(name, []))) or "-"),
         TableCell(now.get(name, "-"))]
        for name in dict.fromkeys([*now, *made])
    ]  # fmt: skip
    header = ["", "students were made with", "this report with"]
    return TableBlock("Machine and versions", header, rows)
