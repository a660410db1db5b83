"""The directive ``command-help``: usage and options of a command of graddesc, from its own parser."""

import argparse

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from graddesc import cli


def _subparsers(parser):
    """The parsers of a parser's commands, by name."""
    return next(
        (
            a.choices
            for a in parser._actions
            if isinstance(a, argparse._SubParsersAction)
        ),
        {},
    )


class CommandHelp(SphinxDirective):
    """What ``graddesc ARGUMENT --help`` says."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """Return the usage as literal text and the options as a list of definitions."""
        parser = cli._parser()
        for name in (self.arguments or [""])[0].split():
            parser = _subparsers(parser)[name]
        usage = parser.format_usage()
        made = [
            nodes.literal_block(
                usage, usage.removeprefix("usage: "), language="none"
            )
        ]
        formatter = parser._get_formatter()
        items = nodes.definition_list()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                pairs = [
                    (choice.dest, choice.help)
                    for choice in action._choices_actions
                ]
            elif action.help is argparse.SUPPRESS or isinstance(
                action, argparse._HelpAction
            ):
                continue
            else:
                pairs = [
                    (
                        formatter._format_action_invocation(action),
                        formatter._expand_help(action),
                    )
                ]
            for term, text in pairs:
                entry = nodes.term("", "", nodes.literal(term, term))
                items += nodes.definition_list_item(
                    "", entry, nodes.definition("", nodes.paragraph(text, text))
                )
        if parser.epilog:
            made.append(nodes.paragraph(parser.epilog, parser.epilog))
        return [*made[:1], items, *made[1:]]


def setup(app):
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
