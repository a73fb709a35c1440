"""Entry point of the command line: the commands, and their exit codes.

The commands themselves are in ``commands/``, their options in ``options.py``.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from clir_cli.commands import exchange, looking, pipeline, study, training
from clir_cli.console import console, one_line, prepare_streams, wrapped
from clir_cli.errors import UserError, check_utf8, followed
from clir_cli.files import raise_open_files
from clir_cli.training import process_group

app = typer.Typer(
    name="clir",
    help="Cross-lingual retrieval experiments: distil, index, search, evaluate.",
    epilog="Start with: clir download --lang sw-en, then distill, index, search, evaluate.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What typer raises for a wrong option or argument; it has no public name of its own.
USAGE_ERROR: Any = typer.BadParameter.__base__

# In the order of --help: the five stages, then the other commands.
COMMANDS: dict[str, Callable[..., None]] = {
    "download": pipeline.download,
    "distill": pipeline.distill,
    "index": pipeline.index,
    "search": pipeline.search,
    "evaluate": pipeline.evaluate,
    "train": training.train,
    "reproduce": study.reproduce,
    "report": study.report,
    "dictionary": looking.dictionary,
    "align": looking.align,
    "ls": looking.list_things,
    "init": looking.init,
}
# Commands of two words, behind the others.
GROUPS = {
    "export": (
        "Write models, collections and runs in the formats of other tools.",
        {
            "student": exchange.export_student,
            "teacher": exchange.export_teacher,
            "collection": exchange.export_collection,
            "queries": exchange.export_queries,
            "qrels": exchange.export_qrels,
            "run": exchange.export_run,
        },
    ),
    "import": ("Import what other tools made.", {"run": exchange.import_run}),
}
# Options that say what is asked for: of several, one would count.
ONCE = ("lang", "method", "metric", "collection", "query", "recipe", "variant", "seed", "baseline")
PATHS = ("catalogue", "config", "draw", "home", "output", "results")  # an empty one would be .
CATALOGUE = "CLIR_CATALOGUE"


class _Command(typer.core.TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parsed: Any = self.make_parser(ctx).parse_args(args=list(args))
        values, _, given = parsed
        for part in given:
            if part.name in ONCE and given.count(part) > 1:
                name = part.opts[0]
                raise UserError(f"{name} is given twice; where several can be named, use commas")
            if values[part.name] == "" and part.name in PATHS:
                raise UserError(f"{part.opts[0]} is empty; name a file or folder")
        return super().parse_args(ctx, args)


for name, command in COMMANDS.items():
    app.command(name=name, cls=_Command)(command)
for name, (purpose, commands) in GROUPS.items():
    group = typer.Typer(help=purpose)
    for word, command in commands.items():
        group.command(name=word, cls=_Command)(command)
    app.add_typer(group, name=name)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"clir {version('clir-cli')}")
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Declare the options that come before a command."""


class _Stopped(KeyboardInterrupt):
    """The process is to end, by the signal in ``args``."""


def _stop(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise _Stopped(number)


def main() -> NoReturn:
    """Run the command line; see ``run`` for the exit codes."""
    prepare_streams()
    raise_open_files()
    if "_CLIR_COMPLETE" in os.environ:  # the shell's completion script asks what fits
        typer.main.get_command(app)(prog_name="clir")
    if process_group.launched():
        process_group.leave(process_group.run_as_one(sys.argv[1:], run))
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, _stop)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0 done; 1 a bug (with a traceback); 2 the user's input or environment is at fault, reported in
    one line; 130 interrupted, 143 and 129 by SIGTERM and SIGHUP.
    """
    before = os.environ.get(CATALOGUE)
    try:
        return _run(arguments)
    finally:  # --catalogue is for this command alone
        os.environ.pop(CATALOGUE, None)
        if before is not None:
            os.environ[CATALOGUE] = before


def _run(arguments: Sequence[str]) -> int:
    from clir_cli.files import explain_os_error

    command = typer.main.get_command(app)
    try:
        for text in arguments:
            check_utf8("an argument", text)
        for name in ("CLIR_HOME", "CLIR_RESULTS", CATALOGUE):
            check_utf8(name, os.environ.get(name, ""))
        # Not app(): its exit codes and messages differ.
        with command.make_context("clir", list(arguments) or ["--help"]) as context:
            try:
                command.invoke(context)
            except typer.Exit as done:  # --help of a command, a failed `reproduce`
                return done.exit_code
        sys.stdout.flush()
    except typer.Exit as done:  # --help, --version; failed: --show-completion for an unknown shell
        return 2 if done.exit_code else 0
    except USAGE_ERROR as error:
        where = error.ctx.command_path if error.ctx else "clir"
        return _fail(followed(error.format_message(), f"see {where} --help"))
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt as error:
        _tell("interrupted; run the same command again to resume")
        return 128 + (error.args[0] if isinstance(error, _Stopped) else signal.SIGINT)
    except (BrokenPipeError, SystemExit):  # closed pipe; rich raises SystemExit
        _drop_output()
    except Exception as error:
        message = explain_os_error(error)
        if message is None:
            raise
        _drop_output()
        return _fail(message)
    return 0


def _drop_output() -> None:
    """Keep the interpreter from failing again when it closes a full standard output."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    _tell(f"clir: {one_line(message)}")
    return 2


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it, and the exit code is the same
        if sys.stderr.isatty():
            line = "\n".join(wrapped(line, console(stderr=True).width))
        print(line, file=sys.stderr, flush=True)
