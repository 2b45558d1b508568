import subprocess
import sys
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "monai", "matplotlib", "scipy", "numpy", "pydicom")


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from photopeak.cli import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(command in shown for command in ("demo", "simulate", "train", "correct", "evaluate"))
    assert "Not a medical device" in " ".join(shown.split())
    assert shown.rstrip().endswith("[]")


def test_typed_error_is_one_line_and_exit_status_two(run: Run) -> None:
    failed = run("train", "no_such_recipe.toml", "nowhere", "-o", "nowhere")
    assert failed.returncode == 2
    assert failed.stderr.startswith("photopeak: BadArgument: recipe no_such_recipe.toml")
    assert len(failed.stderr.strip().splitlines()) == 1
