"""The command line.

Each command imports what it needs when it runs: `shopwindow --help` is instant, and `serve` and
`predict` work where neither torch nor fastai is installed.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from shopwindow import __version__
from shopwindow.cli.audit import audit
from shopwindow.cli.bulk import predict, summary
from shopwindow.cli.calibrate import calibrate
from shopwindow.cli.card import card
from shopwindow.cli.compare import compare
from shopwindow.cli.data import download, inspect
from shopwindow.cli.doctor import doctor
from shopwindow.cli.evaluate import evaluate
from shopwindow.cli.feedback_export import feedback
from shopwindow.cli.gallery import gallery
from shopwindow.cli.importing import import_model
from shopwindow.cli.promote import promote, rollback
from shopwindow.cli.serving import serve
from shopwindow.cli.studio import studio
from shopwindow.cli.training import export, find_lr, train
from shopwindow.errors import ShopwindowError
from shopwindow.plain_text import printable

WRONG_USAGE = 2
MACHINE_FAILED = 74  # EX_IOERR of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells count
PIPE_CLOSED = 141  # 128 + SIGPIPE

_COMPLETE = "_SHOPWINDOW_COMPLETE"  # how the shell asks what may come next


class _InOrder(click.Group):
    """Lists the commands in the order in which a project needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="shopwindow", message="%(prog)s %(version)s")
def program() -> None:
    """Put an image classifier in the window.

    A folder of labelled images becomes a trained model; the model becomes a web app, a JSON API
    and a bulk tool.
    """


for command in (
    serve,
    studio,
    predict,
    summary,
    inspect,
    audit,
    train,
    find_lr,
    evaluate,
    compare,
    feedback,
    promote,
    rollback,
    export,
    import_model,
    calibrate,
    card,
    gallery,
    download,
    doctor,
):
    program.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: What follows the program's name; defaults to those of this process.

    Returns:
        0 done, 1 some inputs failed, 2 wrong usage, 74 the machine failed (no space, no
        permission), 75 a bulk run had to stop, 130 stopped by Ctrl-C, 141 the reader of our output
        closed the pipe.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name that is not UTF-8 is shown with its odd bytes escaped, instead of failing.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # here, where a closed pipe can still be reported
    except ShopwindowError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "shopwindow"
        # Click ends some with a question in brackets, others with one of its own.
        sentence = error.format_message().rstrip(".")
        sentence = re.sub(r"\.? \(?Did you mean(.*?)\?\)?$", r"; did you mean\1?", sentence)
        return _fail(f"{sentence}; see: {path} --help", WRONG_USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("stopped by Ctrl-C", INTERRUPTED)
    except BrokenPipeError:
        _abandon_output()
        return PIPE_CLOSED
    except OSError as error:
        # The machine's fault (no space, no permission), not a bug: a traceback would not help.
        _abandon_output()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", MACHINE_FAILED)
    return code


def _run(arguments: list[str]) -> int:
    if (instruction := os.environ.get(_COMPLETE)) is not None:
        return shell_complete(program, {}, "shopwindow", _COMPLETE, instruction)
    # Not `program.main`, which prints several lines of usage, and an empty line on Ctrl-C.
    try:
        with program.make_context("shopwindow", arguments) as context:
            code = program.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else 0


def _abandon_output() -> None:
    # Python flushes stdout again when it exits, and would complain again.
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    # One line, whatever the message quotes.
    click.echo("shopwindow: " + printable(" ".join(message.split())), err=True)
    return code
