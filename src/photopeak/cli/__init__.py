"""The command line, and the only place that wires rooms together. Heavy imports happen inside the commands."""

import sys

import typer

from photopeak.cli import (
    benchmark,
    clinical,
    cohort,
    correct,
    demo,
    evaluate,
    export,
    import_,
    reconstruct,
    simulate,
    synthesize,
    train,
)

NOTICE = "Research software. Not a medical device. Not for diagnosis or treatment."

app = typer.Typer(
    name="photopeak",
    help=f"Reconstruction and translation in emission tomography with physics-aware diffusion. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.command)
app.command("simulate")(simulate.command)
app.command("train")(train.command)
app.command("correct")(correct.command)
app.command("reconstruct")(reconstruct.command)
app.command("synthesize")(synthesize.command)
app.command("import")(import_.command)
app.command("export")(export.command)
app.command("evaluate")(evaluate.command)
app.command("benchmark")(benchmark.command)
app.command("clinical")(clinical.command)
app.add_typer(cohort.app, name="cohort")


def main() -> None:
    """Run the command line; a typed error is one message and exit status 2."""
    try:
        app()
    except Exception as error:
        from photopeak.core.errors import PhotopeakError

        if not isinstance(error, PhotopeakError):
            raise
        sys.stderr.write(f"photopeak: {type(error).__name__}: {error}\n")
        sys.exit(2)
