"""argparse for `ganglion`: help that fits a screen, all of it beside it, and errors that say what was meant."""

from __future__ import annotations

import argparse
import copy
import difflib
import functools
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_EVERYWHERE = ("--json", "--traceback")
_UNLISTED = ("--help", "--traceback")
"""What the short page of no command shows."""


class UsageError(Exception):
    """A wrong command line.

    Args:
        message: what is wrong with it.
        parser: of the command that it is for.
        line: what was meant, as arguments of `ganglion`, where that can be told.
    """

    def __init__(self, message: str, parser: CommandParser, line: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.parser = parser
        self.line = line


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _format_action_invocation(self, action: argparse.Action) -> str:
        """`-o, --output FILE`, and not the metavar twice."""
        said = super()._format_action_invocation(action)
        if len(action.option_strings) < 2 or action.nargs == 0:
            return said
        return f"{', '.join(action.option_strings)} {said.rpartition(' ')[2]}"


class CommandParser(argparse.ArgumentParser):
    """A parser whose `--help` shows the usual options, a line each, and whose `--help-all` shows all of all of them.

    Args:
        examples: command lines for the end of both pages.
        **settings: arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(formatter_class=functools.partial(_Formatter, max_help_position=26), **settings)
        self.examples = examples
        self.commands: dict[str, CommandParser] = {}
        self._wrong: tuple[str, str] | None = None
        self._typed: list[str] = []

    def option(self, *names: str, to: Any = None, brief: str | None = None, **settings: Any) -> argparse.Action:
        """Adds an argument.

        Args:
            *names: as for `add_argument`.
            to: the group that it belongs to.
            brief: its line on the short page; None leaves it to `--help-all`.
            **settings: as for `add_argument`; without `help`, `--help-all` says what `brief` says.
        """
        settings.setdefault("help", brief)
        action: argparse.Action = (self if to is None else to).add_argument(*names, **settings)
        action.brief = brief  # type: ignore[attr-defined]
        return action

    def parse(self, typed: Sequence[str]) -> argparse.Namespace:
        """Parses a command line.

        Raises:
            UsageError: it is wrong.
            SystemExit: with status 0, after help or version.
        """
        typed = list(typed)
        at = next((index for index, word in enumerate(typed) if not word.startswith("-")), len(typed))
        command = typed[at] if at < len(typed) else ""
        if set(typed[:at]) <= set(_EVERYWHERE):
            typed = [command, *typed[:at], *typed[at + 1 :]] if command else typed
        if command == "help":
            typed = [*typed[1:], "--help"]
            command = typed[0]
        parser = self.commands.get(command, self)
        for one in (self, parser):
            one._typed = typed
        if parser is not self or not command:  # of an unknown command no option is known
            parser._check_spelling(typed)
        arguments, left = self.parse_known_args(typed)
        if left:
            parser.error(f"what does {' '.join(left)} mean here? '{parser.prog}' takes no such argument")
        return arguments

    def _check_spelling(self, typed: list[str]) -> None:
        """Says of an option that there is none of this name before argparse says what else is missing."""
        known = [name for action in self._actions for name in action.option_strings]
        for word in typed[: typed.index("--") if "--" in typed else None]:
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in word and not any(one.startswith(name) for one in known):
                self._refuse(name, known, f"'{self.prog}' has no option {name}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = "command" if isinstance(action, argparse._SubParsersAction) else "/".join(action.option_strings)
            self._refuse(str(value), known, f"{what or action.metavar}: '{value}' is none of {', '.join(known)}")

    def _refuse(self, wrong: str, known: Iterable[str], message: str) -> NoReturn:
        meant = difflib.get_close_matches(wrong.lower(), known, n=1, cutoff=0.55)
        if not meant:
            raise UsageError(message, self)
        line = [meant[0] + word[len(wrong) :] if word.partition("=")[0] == wrong else word for word in self._typed]
        if line == self._typed:  # a value after an equals sign
            line = [f"{word[: -len(wrong)]}{meant[0]}" if word.endswith(f"={wrong}") else word for word in line]
        raise UsageError(f"{message}; did you mean {meant[0]}?", self, line)

    def error(self, message: str) -> NoReturn:
        """Raises a `UsageError`."""
        raise UsageError(message, self)

    def names_a_rare_option(self, message: str) -> bool:
        """Whether a message is about an option that the short page does not show."""
        return any(
            name in message.replace(",", " ").replace(":", " ").replace("/", " ").split()
            for action in self._actions
            if getattr(action, "brief", None) is None
            for name in action.option_strings
        )

    def format_help(self) -> str:
        """The short page."""
        rare = sum(getattr(action, "brief", None) is None for action in self._actions) - len(_UNLISTED)
        groups: list[tuple[str | None, list[argparse.Action]]] = [(None, [])]
        for group in self._action_groups:
            plain = group in (self._positionals, self._optionals)
            shown = [_briefly(action, rare) for action in group._group_actions if getattr(action, "brief", None)]
            if plain:
                groups[0][1].extend(shown)
            elif shown:
                groups.append((group.title, shown))
        groups[0][1].sort(key=lambda action: bool({"--json", "--help-all"} & set(action.option_strings)))
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        for title, actions in groups:
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self._examples())
        return formatter.format_help()

    def format_help_all(self) -> str:
        """The whole page."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(self._examples())
        return formatter.format_help()

    def _examples(self) -> str:
        return "\n".join(("examples:", *(f"  {line}" for line in self.examples))) if self.examples else ""


class HelpAll(argparse.Action):
    """Prints the whole page."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Prints it and leaves."""
        assert isinstance(parser, CommandParser)
        print(parser.format_help_all(), end="")
        parser.exit()


def _briefly(action: argparse.Action, rare: int) -> argparse.Action:
    shown = copy.copy(action)
    shown.help = getattr(action, "brief", None)
    shown.choices = None  # argparse looks them up even where nobody asks for them
    if isinstance(action, HelpAll):
        shown.help = f"the other {rare} options, too, and all in full" if rare > 1 else "every option in full"
    return shown
