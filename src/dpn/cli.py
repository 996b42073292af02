"""The command line: a word calls one function, whose signature and docstring are its options and its help."""

import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any

from jsonargparse import ArgumentParser

from dpn import __version__
from dpn.errors import InputError
from dpn.options import add_options, arguments
from dpn.terminal import HelpFormatter, complain

DESCRIPTION = """Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step.

examples:
  dpn demo                                           an astronaut, a cat, a motorcycle; with the shipped network
  dpn segment photo.jpg holiday/ --out results       a photograph, and a folder of them
  dpn train                                          the four stages on made-up scenes; needs no data
  dpn evaluate voc --data voc --data-root VOCdevkit  the mIoU of each stage, and what each gains
  dpn experiment all --quick --report report.html    the paper's tables and figures, on made-up scenes
  dpn bench --quick                                  what the layers cost, beside a dense CRF"""

COMMANDS = {
    "segment": ("dpn.inference.photographs:segment_photographs", "Label every pixel of photographs."),
    "train": ("dpn.training.run:run_recipe", "Train the four stages of a Deep Parsing Network."),
    "evaluate": (
        "dpn.inference.evaluate:evaluate",
        "Measure a network on a data set: a row for each stage of its training.",
    ),
    "demo": (
        "dpn.inference.photographs:demo",
        "Segment scikit-image's astronaut, cat and motorcycle with the shipped network.",
    ),
    "experiment": ("dpn.experiments.command:experiment", "Make the paper's tables and figures, with its figures beside ours."),
    "bench": (
        "dpn.bench.command:run_bench",
        "Measure what the layers cost, and how that compares with a dense CRF, a CRF-RNN and ConvCRF.",
    ),
    "data": ("dpn.data.download:bring", "Bring a published data set, or VGG16's weights, to this machine."),
}
"""{word: (the function that it calls, the first line of its docstring)}: a module is imported when its word is used."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line, of these words or of the process's own.

    It returns 0; 2 after a mistake of the user's, which is told in one line on stderr; 130 after Ctrl-C.

    Example:
        >>> main(["segment", "nowhere.jpg"])
        2
    """
    words = list(sys.argv[1:] if words is None else words) or ["--help"]
    word, recipe = words[0] if words[0] in COMMANDS else "", ""
    if word == "train" and len(words) > 1 and not words[1].startswith("-"):
        recipe = f"{words[1]}: "
        words.insert(1, "--config")
    try:
        function = resolve_name(COMMANDS[word][0]) if word else None
        parser = _parser(word, function)
        options = parser.instantiate(parser.parse_args(words))
        return function(**arguments(function, options[word])) or 0 if function else 0
    except InputError as error:
        complain(str(error))
    except ArgumentError as error:
        message = re.sub(r"<class '(\w+)'>|typing\.", r"\1", error.message)
        complain(f"{recipe}{message} (see {f'dpn {word}'.strip()} --help)")
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        complain("stopped")
        return 130
    return 2


def _parser(word: str, function: Callable[..., Any] | None) -> ArgumentParser:
    """All words, and the options of one of them."""
    new = partial(ArgumentParser, exit_on_error=False, formatter_class=HelpFormatter)
    parser = new(prog="dpn", usage="dpn COMMAND ...", description=DESCRIPTION, version=__version__)
    commands = parser.add_subcommands(dest="command", required=True)
    for name, (_, summary) in COMMANDS.items():
        of_command = new(prog=f"dpn {name}")
        if name == word and function:
            add_options(of_command, function)
        commands.add_subcommand(name, of_command, help=summary)
    return parser
