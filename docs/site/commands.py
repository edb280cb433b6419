"""The directive ``help``: what a command of ``point2mask`` prints when it is asked for help, as it is now."""

from __future__ import annotations

import contextlib
import io
import os

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from point2mask_ot.cli import main


class Help(Directive):
    """``point2mask label --help`` where the argument is ``label``."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = "".join(self.arguments).split()
        os.environ["COLUMNS"] = "100"  # how wide the frames are
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*words, "--help"])
        return [nodes.literal_block(printed.getvalue(), printed.getvalue(), language="none")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("help", Help)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
