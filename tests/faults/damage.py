"""Artifacts that change between two commands: flipped bits, files lost, cut, swapped or added."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from faults.endings import arm, commands, has_shim, in_child
from faults.judging import REFUSED, SAME, Fault, differing, verdict
from faults.world import Home, World

# A folder of the home, and what is made from it: removed, so that it is made again from the damage.
MADE = "artifacts/sample/*/{}/runs"
RUNS = tuple(MADE.format(method) for method in ("ot", "kd-mse", "english", "bm25"))
SCORES = ("results",)
STUDENT = "artifacts/sample/*/*/student"
EMBEDDINGS = "artifacts/sample/*/teacher.*"
INDEX = "artifacts/sample/index"
LATER = {
    "artifacts/models/someone--tiny": (STUDENT, EMBEDDINGS, INDEX, *RUNS, *SCORES),
    EMBEDDINGS: (STUDENT, *RUNS, *SCORES),
    STUDENT: (*RUNS, *SCORES),
    "artifacts/sample/index/small": (*RUNS, *SCORES),
    "artifacts/sample/*/*/runs/small": SCORES,
    "results/sample": (),
}
# Nothing reads the log of training for a result; the report draws it.
UNREAD = ("training.csv",)


def _targets(world: World) -> list[tuple[Path, tuple[str, ...]]]:
    """Return every file of an artifact, relative to the home, with what is made from it."""
    home = world.home.folder
    return [
        (file.relative_to(home), later)
        for pattern, later in LATER.items()
        for folder in sorted(home.glob(pattern))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in UNREAD
    ]


def _after(home: Home, later: tuple[str, ...]) -> str:
    """Make again what follows from a damaged file; a refusal must leave its remedy able to mend."""
    home.remove(*later)
    return verdict(home.run(), home)


# ------------------------------------------------------------------ one bit


def flips(world: World, chance: Random) -> Iterator[Fault]:
    """Flip one bit of one file, its time of change kept."""
    targets = [
        target for target in _targets(world) if (world.home.folder / target[0]).stat().st_size
    ]
    while True:
        file, later = chance.choice(targets)
        bit = chance.randrange(8 * (world.home.folder / file).stat().st_size)

        def play(home: Home, file: Path = file, later: tuple = later, bit: int = bit) -> str:
            flip(home.folder / file, bit)
            if file.parts[0] == "results":  # a table that people may edit: never a traceback
                ending = home.run()
                return REFUSED if ending.refused else SAME if ending.code == 0 else str(ending)
            return _after(home, later)

        yield Fault("one bit flipped", f"bit {bit} of {file}", play)


def flip(path: Path, bit: int) -> None:
    """Flip a bit of a file and restore its size and mtime."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# ------------------------------------------------------------------ whole files


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(16))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _swap(path: Path) -> None:
    others = [p for p in sorted(path.parent.iterdir()) if p.is_file() and p != path]
    if others:
        content = others[0].read_bytes()
        others[0].write_bytes(path.read_bytes())
        path.write_bytes(content)


WHOLE: dict[str, Callable[[Path], None]] = {
    "cut": _cut, "grown": _grow, "emptied": lambda path: path.write_bytes(b""),
    "lost": Path.unlink, "a folder": _folder, "a link to itself": _loop, "a fifo": _fifo,
    "swapped with its neighbour": _swap,
}  # fmt: skip


def replaced(world: World, chance: Random) -> Iterator[Fault]:
    """Cut, lose, empty or replace one file."""
    targets = _targets(world)
    while True:
        (file, later), how = chance.choice(targets), chance.choice(list(WHOLE))

        def play(home: Home, file: Path = file, later: tuple = later, how: str = how) -> str:
            WHOLE[how](home.folder / file)
            if file.parts[0] == "results":  # made again from the runs, or refused
                ending = home.run()
                return REFUSED if ending.refused else SAME if ending.code == 0 else str(ending)
            return _after(home, later)

        yield Fault("file cut, lost or replaced", f"{file} {how}", play)


# ------------------------------------------------------------------ what no manifest lists


EXTRA = (
    "projection.safetensors", "centre.safetensors", "recipe.json", "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json", "added_tokens.json", "vocab.txt", "adapter_config.json",
    "pytorch_model.bin", "shard-00003.vectors.npy", "generation_config.json", "artifact.metadata",
    "model.safetensors.index.json", "chat_template.jinja", "1_Dense/config.json", "index.json",
)  # fmt: skip


def added(world: World, chance: Random) -> Iterator[Fault]:
    """Put a file that no manifest lists into an artifact."""
    home = world.home.folder
    folders = [
        (folder.relative_to(home), later)
        for pattern, later in LATER.items()
        for folder in sorted(home.glob(pattern))
        if later
    ]
    while True:
        (folder, later), name = chance.choice(folders), chance.choice(EXTRA)
        text = chance.choice(
            ("{}", "[]", '{"query_prefix": "x "}', "", "\0", '{"do_lower_case": 0}')
        )

        def play(home: Home, file: Path = folder / name, text: str = text,
                 later: tuple = later) -> str:  # fmt: skip
            path = home.folder / file
            if path.exists():
                return SAME
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            return _after(home, later)

        yield Fault("file added", f"{folder / name}: {text!r}", play)


def moved(world: World, chance: Random) -> Iterator[Fault]:
    """Put a whole artifact into the place of another of its kind."""
    home = world.home.folder
    kinds = [
        (later, [path.relative_to(home) for path in sorted(home.glob(pattern))])
        for pattern, later in LATER.items()
        if pattern in (STUDENT, EMBEDDINGS, "artifacts/sample/*/*/runs/small")
    ]
    while True:
        later, places = chance.choice(kinds)
        (one, other), both = chance.sample(places, 2), chance.random() < 0.5

        def play(home: Home, one: Path = one, other: Path = other, both: bool = both,
                 later: tuple = later) -> str:  # fmt: skip
            place, source, kept = home.folder / other, home.folder / one, home.folder / "kept"
            place.rename(kept)
            source.rename(place)
            if both:
                kept.rename(source)
            else:
                shutil.rmtree(kept)
            return _after(home, later)

        name = f"{one} {'swapped with' if both else 'in place of'} {other}"
        yield Fault("artifact in another's place", name, play)


# ------------------------------------------------------------------ drafts


def drafts(world: World, chance: Random) -> Iterator[Fault]:
    """Kill a training, damage what it left for its next start, and start it again."""
    if not has_shim():
        return
    while True:
        at, bits, how = chance.randrange(40, 400), chance.random(), chance.choice(["flip", *WHOLE])
        pick = chance.random()

        def play(home: Home, at: int = at, bits: float = bits, how: str = how,
                 pick: float = pick) -> str:  # fmt: skip
            home.remove("artifacts/sample/sw-en/ot", *SCORES)
            words = home.words("distill", "--lang", "sw-en")

            def killed() -> int:
                arm(home.artifacts / "sample", at)
                return commands([words])()

            if not in_child(killed).killed:
                return SAME if not differing(home) else verdict(home.run(), home)
            files = sorted(
                file for file in home.artifacts.glob("sample/sw-en/ot/.student.part/**/*")
                if file.is_file() and file.stat().st_size
            )  # fmt: skip
            if files:
                file = files[int(pick * len(files))]
                if how == "flip":
                    flip(file, int(bits * 8 * file.stat().st_size))
                else:
                    WHOLE[how](file)
            ending = home.run()
            if ending.refused:  # then the way out that every message names must mend it
                ending = home.run([[*words, "--force"], *home.chain()])
            return verdict(ending, home)

        yield Fault(
            "draft of a killed training damaged",
            f"kill at {at}, {how}, {pick:.3f} {bits:.4f}",
            play,
        )
