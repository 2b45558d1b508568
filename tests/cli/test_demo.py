import re
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_demo_corrects_a_patient_it_has_never_seen(run: Run, tmp_path: Path) -> None:
    done = run("demo", "-o", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    errors = {
        name: float(re.search(rf"^\s*{name}: heart NRMSE ([\d.]+)", done.stdout, re.MULTILINE)[1])  # type: ignore[index]
        for name in ("nac", "ac")
    }
    assert errors["ac"] < 0.5 * errors["nac"]
    made = {str(p.relative_to(tmp_path / "demo")) for p in (tmp_path / "demo").rglob("*") if p.is_file()}
    assert made == {
        "report.html",
        "log.txt",
        "ac.nii.gz",
        "ac_sd.nii.gz",
        "dicom/nac.dcm",
        "dicom/ac.dcm",
        "dicom/ac_sd.dcm",
    }
