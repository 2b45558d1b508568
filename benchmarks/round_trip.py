"""Simulated scans exported as DICOM, validated, imported and compared with what they were.

python benchmarks/round_trip.py STUDY_FOLDER... [--out FILE.json]

A scan finds its imported self by its raw counts, since an import gives new names. Needs dciodvfy (dicom3tools).
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from photopeak.core import Study
from photopeak.io.cohort import open_cohort
from photopeak.io.cohort_import import import_cohort
from photopeak.io.deidentify import Secret
from photopeak.io.dicom_export import export_study
from photopeak.io.import_table import TAKEN
from photopeak.io.store import load_study

COMPARED = ("nac", "ac", "mu")
SLICES = tuple(f"{name}_{axis}" for name in ("nac", "ac") for axis in ("sa", "hla", "vla"))


def errors_of(file: Path) -> int:
    """Lines of dciodvfy that begin with Error."""
    told = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
    return sum(line.startswith("Error") for line in (told.stdout + told.stderr).splitlines())


def compared(scan: Study, back: Study) -> dict[str, object]:
    """How far the imported scan is from the exported one: counts, affines, values in 16-bit steps, labels."""
    steps, affines = {}, []
    for name in COMPARED:
        mine, theirs = scan[name], back[name]
        affines.append(float(np.abs(np.array(mine.grid.affine) - np.array(theirs.grid.affine)).max()))
        step = float(mine.data.max()) / 32767
        steps[name] = float((mine.data - theirs.data).abs().max()) / step
    return {
        "state": scan.facts["state"] == back.facts["state"],
        "raw_equal": bool(torch.equal(scan.projections["raw"].counts, back.projections["raw"].counts)),
        "affine_mm": max(affines),
        "largest_step": steps,
        "slices": all(name in back for name in SLICES),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if shutil.which("dciodvfy") is None:
        parser.error("dciodvfy is missing: apt-get install dicom3tools")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        scans = [load_study(path) for path in given.studies]
        files = [file for scan in scans for file in export_study(scan, folder / "dicom" / scan.name)]
        errors = sum(map(errors_of, files))
        done = import_cohort(folder / "dicom", folder / "cohort", Secret.kept_in(folder / "salt"))
        imported = list(open_cohort(folder / "cohort"))
        rows = []
        for scan in scans:
            total = float(scan.projections["raw"].counts.sum())
            back = next(b for b in imported if float(b.projections["raw"].counts.sum()) == total)
            rows.append({"scan": scan.name, **compared(scan, back)})
    result = {
        "scans": len(scans),
        "files": len(files),
        "validator_errors": errors,
        "files_taken": sum(line.outcome == TAKEN for line in done.lines),
        "states_right": sum(bool(row["state"]) for row in rows),
        "raw_equal": sum(bool(row["raw_equal"]) for row in rows),
        "slices_there": sum(bool(row["slices"]) for row in rows),
        "largest_affine_mm": max(row["affine_mm"] for row in rows),
        "largest_step": max(value for row in rows for value in row["largest_step"].values()),
    }
    print(json.dumps(result, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps([result], indent=1) + "\n")


if __name__ == "__main__":
    main()
