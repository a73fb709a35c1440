"""The artifact graph: everything that follows from the declarations of the kinds.

What an artifact will be made from (``resolve``), the command that makes it (``command``), which
settings reach it (``reach``), and what must be there first (``needs``).
"""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from clir_cli.artifacts import store
from clir_cli.artifacts.cell import IMPORTED
from clir_cli.artifacts.command import Command, Option, assignment
from clir_cli.artifacts.spec import NEUTRAL, ArtifactSpec, Context, Input, Ref
from clir_cli.artifacts.store import Artifact
from clir_cli.errors import MissingInput, UserError
from clir_cli.settings import Settings
from clir_cli.suites import known_keys, load_settings, matches, suite_settings, value_of

MODELS = ("teacher.model", "student.model")  # names of models that are inputs too, by content
# Filled by clir_cli/stages/kinds.py: by kind, and by kind and method where one has its own.
SPECS: dict[str, ArtifactSpec] = {}


def spec_of(ref: Ref) -> ArtifactSpec:
    """Return the declaration of an artifact's kind, or of its kind and method.

    Runs that other tools wrote have one of their own.
    """
    of = IMPORTED if ref.cell.is_imported else ref.cell.method
    return SPECS.get(f"{ref.kind} {of}") or SPECS[ref.kind]


@lru_cache(maxsize=4096)
def inputs_of(ref: Ref) -> tuple[Input, ...]:
    """Return what an artifact is made from; raises UserError for what cannot be made."""
    return tuple(spec_of(ref).inputs(ref))


# ------------------------------------------------------------------ one artifact


def path_of(context: Context, ref: Ref) -> Path:
    """Return where an artifact lies."""
    path = spec_of(ref).path(ref)
    if path is None:
        raise ValueError(f"{ref.kind} has no folder of its own")
    return context.home / path


def resolve(
    context: Context,
    ref: Ref,
    given: Mapping[str, str] | None = None,
    recorded: Mapping[str, str] | None = None,
) -> Artifact:
    """Return what an artifact will be made from.

    ``given`` are fingerprints of inputs that only the caller has, ``recorded`` those to take
    instead of inputs that are missing.

    Raises:
        MissingInput: An input is missing; the message has the command that makes it.
        UserError: An input is damaged, or the settings cannot be met.
    """
    context = context.of(ref)
    digests = dict(given or {})
    for part in inputs_of(ref):
        try:
            with making(context, part.of):
                digests |= part.digests(context)
        except MissingInput:
            if recorded is None:
                raise
            digests = {**recorded, **digests}
    return _artifact(context, ref, config_of(ref), digests)


def _artifact(
    context: Context, ref: Ref, config: Mapping[str, Any], inputs: Mapping[str, str]
) -> Artifact:
    spec, shown = spec_of(ref), command(context, ref)
    artifact = Artifact(
        path=path_of(context, ref),
        kind=ref.kind.replace(" ", "-"),
        config=config,
        inputs=inputs,
        command=str(shown),
        mend=str(shown.adding([(spec.mend,)])) if spec.mend else "",
        unreached=tuple(spec.unreached(ref)),
        source=spec.source(ref),
    )
    before = {name: store.older(value) for name, value in inputs.items()}
    if before != inputs:
        store.remember_older(artifact.fingerprint, replace(artifact, inputs=before).fingerprint)
    return artifact


@contextmanager
def making(context: Context, ref: Ref | None) -> Iterator[None]:
    """Add the command that makes ``ref`` to the message of a missing input."""
    try:
        yield
    except MissingInput as error:
        if ref is None or error.has_remedy:
            raise
        raise MissingInput(f"{error}; make it with: {command(context, ref)}", True) from None


def require_current(context: Context, ref: Ref) -> Artifact:
    """Return an artifact that is there, whole, and made from what it would be made from now.

    Raises:
        MissingInput: It or an input is missing; the message has the command that makes it.
        UserError: It is damaged, of another pair, method or seed, or was made with other settings
            or from other inputs; the message has the settings with which it can be used.
    """
    artifact = resolve(context, ref)
    store.require(artifact.path, artifact.command)
    return _same(ref, artifact)


def require_model(
    context: Context,
    ref: Ref,
    known: Callable[[], Mapping[str, str]] | None = None,
    own: Sequence[str] = (),
) -> Path:
    """Return the folder of a model that is there and is what it will be used for.

    Models that it was made from are compared by content, not by name; inputs that are no longer
    here, such as bitext, are not compared. Its files are verified when they are read.

    ``known`` returns the only inputs to compare, if its settings may be any; those called as
    ``own`` are not compared.

    Raises:
        MissingInput: It is missing.
        UserError: As ``require_current``.
    """
    shown = str(command(context, ref))
    manifest = store.require(path_of(context, ref), shown, deep=False)
    inputs = manifest["inputs"]
    if known is not None:
        config = {**manifest["config"], **spec_of(ref).identity(ref)}
        inputs = {**inputs, **known()}
    else:
        config = config_of(ref, without=MODELS)
        planned = resolve(context, ref, recorded=inputs).inputs
        inputs = {**planned, **{name: inputs[name] for name in own if name in inputs}}
    artifact = _artifact(context, ref, config, inputs)
    return _same(ref, replace(artifact, unreached=(*artifact.unreached, *MODELS))).path


def _same(ref: Ref, artifact: Artifact) -> Artifact:
    """Return an artifact that is there if it is what was planned; raises as ``require_current``."""
    if artifact.state() == "current":
        return artifact
    store.refuse_another(artifact)
    spec, was = spec_of(ref), store.changed_settings(artifact)
    again = f"make it again: {artifact.command} --force"
    if was.keys() & spec.identity(ref).keys():
        again = f"put the folder back where it was, or {again}"
    else:
        names = spec.settings(ref)
        keys = {names.get(name, name): value for name, value in was.items()}
        if keys and keys.keys() <= set(known_keys()):
            values = {key: _default(ref, key) if v is None else v for key, v in keys.items()}
            options = (shlex.join(["--set", assignment(*item)]) for item in values.items())
            again = f"to use it, add {' '.join(options)}; or {again}"
    raise UserError(f"{store.stale(artifact)}; {again}")


def _default(ref: Ref, key: str) -> Any:
    section, _, name = key.partition(".")
    return type(getattr(ref.settings, section)).model_fields[name].default


def as_input(ref: Ref, name: str, *, current: bool = False) -> Input:
    """Return an artifact as an input known by its fingerprint, which must be there if current."""
    resolved = require_current if current else resolve
    return Input(lambda context: {name: resolved(context, ref).fingerprint}, ref)


def make(context: Context, ref: Ref) -> None:
    """Make an artifact; raises as its stage does."""
    spec_of(ref).make(context.of(ref), ref)


# ------------------------------------------------------------------ settings


def config_of(ref: Ref, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the configuration of an artifact: its identity, and the settings that reach it.

    Settings that came later than the first manifests are left out at their default
    (``settings.py``); models of folders are known by content, so their path counts for nothing.
    """
    spec = spec_of(ref)
    config: dict[str, Any] = dict(spec.identity(ref))
    left_out = (*NEUTRAL, *spec.excluded(ref), *without)
    for name, setting in spec.settings(ref).items():
        section, _, key = setting.partition(".")
        values = getattr(ref.settings, section).model_dump(mode="json")
        if section in ("teacher", "student"):
            values["model"] = Path(values["model"]).name
        if not key:
            config[name] = {k: v for k, v in values.items() if f"{section}.{k}" not in left_out}
        elif key in values and setting not in without:
            *outer, last = name.split(".")
            entries = config
            for part in outer:
                entries = entries.setdefault(part, {})
            entries[last] = values[key]
    return config


@lru_cache(maxsize=4096)
def reach(ref: Ref, *, past_names: bool = True) -> frozenset[str]:
    """Return the settings that decide what an artifact holds, its inputs' included.

    ``past_names`` includes what reaches inputs whose variant names their settings
    (``ArtifactSpec.named``).
    """
    spec = spec_of(ref)
    keys = keys_of(*spec.settings(ref).values()) - keys_of(*spec.excluded(ref))
    for part in inputs_of(ref):
        keys |= keys_of(*part.settings)
        named = part.of and part.of.cell.variant and spec_of(part.of).named
        if part.of is not None and (past_names or not named):
            keys |= reach(part.of, past_names=past_names)
    return frozenset(keys - keys_of(*NEUTRAL))


@lru_cache(maxsize=1024)
def keys_of(*prefixes: str) -> frozenset[str]:
    """Return the settings that prefixes stand for: sections, or settings of their own."""
    return frozenset(key for key in known_keys() if matches(key, prefixes))


# ------------------------------------------------------------------ commands


def command(context: Context, ref: Ref) -> Command:
    """Return the command that makes an artifact: this one, with these settings."""
    return with_settings(context, spec_of(ref).command(ref), ref)


def with_settings(
    context: Context, first: Command, ref: Ref, *, neutral: bool = True, past_names: bool = False
) -> Command:
    """Return a command with the suite, the place, and the settings that reach an artifact.

    ``past_names`` adds the settings of a variant, which are needed where its artifact is missing.
    """
    spec = spec_of(ref)
    keys = reach(ref, past_names=past_names) | keys_of(*spec.shown(ref))
    keys |= keys_of(*NEUTRAL) if neutral else set()
    changed = changes(context, ref.settings, keys)
    return first.adding([("--suite", ref.suite), *context.shown, *changed])


def changes(context: Context, settings: Settings, keys: Collection[str]) -> list[Option]:
    """Return the options that set what differs from the suite, of some settings."""
    cached = ("suite", settings.suite, context.config)
    if cached not in context.cache:
        context.cache[cached] = load_settings(settings.suite, context.config)
    values = {key: value_of(settings, key) for key in known_keys() if key in keys}
    return [
        ("--set", assignment(key, value))
        for key, value in values.items()
        if key != "collection" and value != value_of(context.cache[cached], key)
    ]


# ------------------------------------------------------------------ order


def needs(ref: Ref) -> tuple[Ref, ...]:
    """Return the artifacts that an artifact is made from directly, each once."""
    return tuple(dict.fromkeys(part.of for part in inputs_of(ref) if part.of is not None))


def reset(settings: Settings, key: str) -> Settings:
    """Return settings with one of them as the suite has it."""
    section, _, name = key.partition(".")
    before = getattr(settings, section)
    after = before.model_copy(update={name: value_of(suite_settings(settings.suite), key)})
    return settings.model_copy(update={section: after}) if after != before else settings
