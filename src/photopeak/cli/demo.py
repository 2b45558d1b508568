"""``photopeak demo``: one simulated patient, corrected with the shipped weights, scored against its truth."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the result.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another patient.")] = 2025,
) -> None:
    """Simulate a patient, correct it without CT, score it against a perfect CT-AC and write a report."""
    from photopeak.cardiac.find import FoundHeart
    from photopeak.cli.correct import REPORT, USUAL_METHOD, correct
    from photopeak.cli.evaluate import score_rows
    from photopeak.cli.simulate import simulate
    from photopeak.core import Step
    from photopeak.evaluate.patients import heart_scores
    from photopeak.methods import method

    typer.echo("simulating one patient: anatomy, projections, NAC and AC reconstructions")
    patient = simulate("demo_patient", seed=seed)
    perfect = Step(("ctac",), "osem of noise-free counts with the true attenuation map")
    study = patient.only("nac").add({"ctac": patient["ac_clean"]}, perfect)
    typer.echo("correcting it from NAC alone")
    study = correct(study, method(USUAL_METHOD, samples=8), out, truth="ctac")
    heart = FoundHeart.from_dict(study.facts["heart"])
    scores = {of: heart_scores(study, of=of, truth="ctac", heart=heart) for of in ("nac", "ac")}
    typer.echo(score_rows(scores))
    typer.echo(f"report: {out / REPORT}")
