"""The command line: a word calls one function, whose signature and docstring are its options and its help."""

import sys
from argparse import SUPPRESS, ArgumentError
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any, Literal

from jsonargparse import ArgumentParser

from dpn import __version__
from dpn.errors import InputError, out_of_memory, parser_line
from dpn.options import add_options, arguments, names_of
from dpn.processes import LOST, LostError, is_ours, launch, started
from dpn.stopping import code_of, raised, told
from dpn.terminal import HelpFormatter, complain, is_internal, print_anything, spared_by_libraries

DESCRIPTION = """Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step.

examples:
  dpn demo                                           an astronaut, a cat, a motorcycle; with the shipped network
  dpn segment photo.jpg holiday/ --out results       a photograph, and a folder of them
  dpn video clip.mp4 --out clip_labels.mp4           a video, frame by frame, with its sound
  dpn refine masks photographs --head irn            masks from anywhere, by a dense CRF or a trained head
  dpn tile slide.svs --pixel 0.5                     images of any size, in tiles; a TIFF with a pyramid
  dpn train                                          the four stages on made-up scenes; needs no data
  dpn evaluate voc --data voc --data-root VOCdevkit  the mIoU of each stage, and what each gains
  dpn export voc --to onnx                           a file for onnxruntime, compared with the network
  dpn experiment all --quick --report report.html    the paper's tables and figures, on made-up scenes
  dpn info voc                                       its labels, its parts, where it comes from
  dpn serve --port 8000                              an image in, a mask out, by HTTP
  dpn bench --quick                                  what the layers cost, beside a dense CRF"""

COMMANDS = {
    "segment": ("dpn.runs.command:segment_photographs", "Label every pixel of photographs and clips."),
    "video": ("dpn.inference.video_command:segment_clip", "Label every pixel of every frame of a clip."),
    "refine": ("dpn.inference.refine_command:refine_masks", "Refine masks or scores from anywhere by their images."),
    "tile": (
        "dpn.inference.tile_command:tile_images",
        "Label every pixel of images that are too large for memory: slides, satellite images, panoramas.",
    ),
    "train": ("dpn.training.run:run_recipe", "Train the four stages of a Deep Parsing Network."),
    "evaluate": (
        "dpn.inference.evaluate:evaluate",
        "Measure a network on a data set: a row for each stage of its training.",
    ),
    "demo": (
        "dpn.runs.command:demo",
        "Segment scikit-image's astronaut, cat and motorcycle with the shipped network.",
    ),
    "export": (
        "dpn.exporting.command:export_model",
        "Write a trained network as a file that runs without dpn, and compare the two.",
    ),
    "experiment": ("dpn.experiments.command:experiment", "Make the paper's tables and figures, with its figures beside ours."),
    "bench": (
        "dpn.bench.command:run_bench",
        "Measure what the layers cost, and how that compares with a dense CRF, a CRF-RNN and ConvCRF.",
    ),
    "info": ("dpn.inference.info:info", "Tell what a model is: its labels, its parts, its size and where it comes from."),
    "app": ("dpn.app.command:app", "Look at what the network sees in photographs, on a page in the browser."),
    "serve": ("dpn.serve.command:serve", "Label images that are sent by HTTP: an image in, a mask out."),
    "data": ("dpn.data.command:data", "Bring a published data set to this machine, or look at one before training."),
    "completion": ("dpn.cli:completion", "Print a shell's script that completes words, options and their values."),
}
"""{word: (the function that it calls, the first line of its docstring)}: a module is imported when its word is used."""

FILES = ("FILE", "FOLDER", "IMAGE", "IMAGES", "CLIP", "MASKS", "MODEL", "RECIPE")
"""The METAVARs whose values are files or folders."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line, of these words or of the process's own.

    It returns 0; 2 after a mistake of the user's, which is told in one line on stderr; 130 after Ctrl-C, 143 after SIGTERM.

    Example:
        >>> main(["segment", "nowhere.jpg"])
        2
    """
    print_anything()
    words = list(sys.argv[1:] if words is None else words) or ["--help"]
    word, recipe = words[0] if words[0] in COMMANDS else "", ""
    if word == "train" and len(words) > 1 and not words[1].startswith("-"):
        recipe = f"{words[1]}: "
        words.insert(1, "--config")
    try:
        function = resolve_name(COMMANDS[word][0]) if word else None
        parser = _of_all({word: _of_word(word, function)} if function else {})
        options = _read(parser, words)
        if word and options[word].get("devices", 1) > 1 and options[word].get("nodes", 1) == 1 and started().size == 1:
            return launch(words, options[word]["devices"])
        with raised(), spared_by_libraries():
            return function(**arguments(function, options[word])) or 0 if function else 0
    except LostError as error:
        if is_ours():
            return LOST
        complain(str(error))
    except InputError as error:
        complain(str(error))
    except ArgumentError as error:
        complain(f"{recipe}{parser_line(error.message)} (see {f'dpn {word}'.strip()} --help)")
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        hint = "; a folder is needed there, choose another place" if in_the_way else ""
        complain(f"{error.filename}: {error.strerror}{hint}" if error.filename else str(error))
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            complain("out of memory; smaller images, a smaller --size or another device take less")
        elif "Symlink loop" in str(error):  # as pathlib calls it
            path = str(error).removeprefix("Symlink loop from ").strip("'")
            complain(f"{path}: a link that leads back to itself; name another place")
        else:
            raise
    except KeyboardInterrupt as stop:
        complain(told(stop))
        return code_of(stop)
    return 2


def _read(parser: ArgumentParser, words: Sequence[str]) -> Any:
    """The options of a command line; a parameter that is out of range has the name that it has among them."""
    try:
        return parser.instantiate(parser.parse_args(words))
    except InputError as error:
        if words[0] != "train":
            raise
        from dpn.mrf.config import named_in_recipe

        raise named_in_recipe(error) from error


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a shell's script that completes words, options and their values.

    The script stands by itself: completing starts no Python. Make it anew after an upgrade.

    examples:
      dpn completion bash > ~/.local/share/bash-completion/completions/dpn
      dpn completion zsh > ~/.zfunc/_dpn                            a folder that $fpath names
      dpn completion fish > ~/.config/fish/completions/dpn.fish
      source <(dpn completion bash)                                 in this shell alone

    Args:
        shell: whose
    """
    import shtab

    parsers = {}
    for word, (home, _) in COMMANDS.items():
        function = resolve_name(home)
        parsers[word], names = _of_word(word, function), names_of(function)
        for action in parsers[word]._actions:
            if is_internal(action):
                action.help = SUPPRESS
            elif action.dest in names:
                action.choices = names[action.dest]
            elif action.metavar in FILES:
                vars(action)["complete"] = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE
    print(shtab.complete(_of_all(parsers), shell))


def _of_word(word: str, function: Callable[..., Any] | None = None) -> ArgumentParser:
    """A word's parser, with the options of its function."""
    parser = _new(prog=f"dpn {word}")
    if function:
        add_options(parser, function)
    return parser


def _of_all(known: Mapping[str, ArgumentParser]) -> ArgumentParser:
    """The parser of all words; of those that are not known, without their options."""
    parser = _new(prog="dpn", usage="dpn COMMAND ...", description=DESCRIPTION, version=__version__)
    commands = parser.add_subcommands(dest="command", required=True)
    for word, (_, summary) in COMMANDS.items():
        commands.add_subcommand(word, known.get(word) or _of_word(word), help=summary)
    return parser


_new = partial(ArgumentParser, exit_on_error=False, formatter_class=HelpFormatter)
