"""docs/performance.md from what the benchmarks measured.

python benchmarks/performance_page.py [--results benchmarks/results] [--out docs/performance.md]

Every number of the page comes out of a JSON file in the results' folder; a table without its file is left out.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
HERE = Path(__file__).resolve().parent
NAMES = {"pytomography": "PyTomography", "gemm": "photopeak, GEMM in torch", "compiled": "photopeak, compiled"}
BARS = {
    ("forward_ratio", "compiled"): (40, 100),
    ("adjoint_ratio", "compiled"): (40, 100),
    ("osem_ratio", "compiled"): (40, 75),
    ("forward_ratio", "gemm"): (20, None),
    ("adjoint_ratio", "gemm"): (10, None),
}


def page(results: Path) -> str:
    """The whole page in Markdown."""
    parts = [
        "# Performance\n\nMade by `benchmarks/performance_page.py` from `benchmarks/results/`; run the benchmarks to "
        "renew it. Times are the best of four runs, or the only run where one takes more than 5 s."
    ]
    for stem, section in SECTIONS.items():
        file = results / f"{stem}.json"
        if file.exists():
            parts.append(section(json.loads(file.read_text())))
    for file in sorted(results.glob("*.json")):
        if file.stem not in SECTIONS:
            parts.append(other(file.stem, json.loads(file.read_text())))
    return "\n\n".join(parts) + "\n"


def beside(result: Row) -> str:
    """The projector and OSEM beside PyTomography, in one run."""
    machine = result["machine"]
    parts = [
        f"## The parallel-hole projector beside PyTomography {machine['pytomography']}\n\n"
        f"Both in one run on one machine: {on(machine)}. GE LEHR at 250 mm, 180 degrees, attenuation, float32. OSEM is "
        f"{machine['osem']} on the same noisy counts, each code in a process of its own whose peak includes Python, "
        "torch and all that it imports."
    ]
    for job in result["jobs"]:
        parts.append(f"### {job['job']}\n\n" + speeds(job) + "\n\n" + agreement(job, machine["fine_views"]))
    return "\n\n".join(parts)


def speeds(job: Row) -> str:
    head = ["", "forward", "adjoint", "OSEM", "peak memory", "before OSEM", "error of OSEM's image"]
    rows = []
    for who, name in NAMES.items():
        times = [faster(job, f"{step}_s", f"{step}_ratio", who) for step in ("forward", "adjoint", "osem")]
        memory = [f"{job[field][who]:.0f} MB" for field in ("osem_peak_mb", "at_start_mb")]
        rows.append([name, *times, *memory, f"{100 * job['osem_error'][who]:.1f} %"])
    return table(head, rows) + ("\n\n" + bars(job) if job["size"] == 128 else "")


def faster(job: Row, taken: str, ratio: str, who: str) -> str:
    times = f" ({job[ratio][who]:.0f}x)" if who in job[ratio] else ""
    return f"{seconds(job[taken][who])}{times}"


def bars(job: Row) -> str:
    """What was asked of this job, and whether it was reached."""
    rows = []
    for (field, who), (bar, goal) in BARS.items():
        value = job[field][who]
        verdict = "goal met" if goal and value >= goal else "met" if value >= bar else "**not met**"
        asked = f"{bar}x" + (f", goal {goal}x" if goal else "")
        rows.append([f"{NAMES[who]}: {field.split('_')[0]}", asked, f"{value:.0f}x", verdict])
    peak = job["osem_peak_mb"]["compiled"]
    rows.append(["photopeak, compiled: peak memory of OSEM", "700 MB", f"{peak:.0f} MB", met(peak < 700)])
    return table(["asked", "bar", "measured", ""], rows)


def agreement(job: Row, fine_views: int) -> str:
    """Relative L2 of forwards to each other and to truths."""
    ours, compiled = job["peer_to_ours_same_kernel"], job["peer_to_compiled"]
    rows = [
        [
            "PyTomography to our GEMM with its kernel (sampled Gaussian, cut at 3 sigma)",
            f"{ours:.1e}",
            met(ours <= 1e-6),
        ]
    ]
    bar = met(compiled <= 0.003) if job["size"] == 128 else ""
    rows.append(["our compiled forward to PyTomography", percent(compiled), bar])
    integrated, fine = job["to_pixel_integrated"], job["to_fine_voxels"]
    verdict = met(integrated["compiled"] < integrated["pytomography"])
    rows.append(["to pixel-integrated kernels in float64: PyTomography", percent(integrated["pytomography"]), ""])
    rows.append(["to pixel-integrated kernels in float64: our compiled", percent(integrated["compiled"]), verdict])
    for who, name in NAMES.items():
        rows.append([f"to the same voxels cut to 1.6 mm, {fine_views} views: {name}", percent(fine[who]), ""])
    adjoint = percent(job["peer_adjoint_to_transpose"])
    rows.append(["PyTomography's adjoint to the transpose of its forward", adjoint, ""])
    return table(["relative L2", "measured", ""], rows)


def cost(result: Row) -> str:
    """Growth with voxels and views, beside the machine's floor."""
    machine = result["machine"]
    return (
        f"## How cost grows\n\nCompiled engine, {on(machine)}. The floor is the larger of two times: the bytes that a "
        f"forward has to move, at the {machine['copy_gb_per_s']:.0f} GB/s of a copy, and the operations that it has to "
        f"do, at the {machine['gemm_gflop_per_s']:.0f} GFLOP/s of a matrix product, both measured in the same run. "
        "`benchmarks/peer/cost.py` counts them: image and mu read once for each view, every voxel rotated, attenuated "
        "and blurred by three taps an axis. Only a projector that leaves voxels out could be faster.\n\n"
        + growth(result["growth"])
    )


def growth(rows: list[Row]) -> str:
    head = ["", "forward", "adjoint", "bytes", "operations", "floor", "forward / floor"]
    return table(
        head,
        [
            [
                row["job"],
                seconds(row["forward_s"]),
                seconds(row["adjoint_s"]),
                f"{row['needs_gb']:.2g} GB",
                f"{row['needs_gflop']:.2g} GFLOP",
                seconds(row["floor_s"]),
                f"{row['forward_s'] / row['floor_s']:.1f}",
            ]
            for row in rows
        ],
    )


def gpu(result: Row) -> str:
    """The GEMM form on a GPU."""
    batch = result["batch"]
    return (
        f"## On a GPU\n\nGEMM engine on one {result['machine']['processor']}, torch {result['machine']['torch']}.\n\n"
        + growth(result["growth"])
        + f"\n\nOSEM 4x10 of a batch of {batch['studies']} studies, {batch['job']}: {seconds(batch['osem_s'])}, "
        f"{batch['peak_mb'] / 1024:.1f} GB at the peak."
    )


def photons(result: Row) -> str:
    """The photon tracker: rate, and what it says of scatter."""
    line = result["cylinder"]["line, with coherent"]["fraction"]
    return (
        "## The photon tracker\n\n`benchmarks/photons.py`: a history is a photon followed to its end with all that it "
        "sends to its view. The bars are 1e6 a second, and scatter over primary of 0.25 to 0.45 at the heart. Narrow "
        f"beams follow exp(-mu d) to {max(abs(s['over_exp'] - 1) for s in result['slab']):.0e}, Compton energies to "
        f"{result['compton_relative_error']:.0e}; of a line in a 22 cm water cylinder, {percent(line)} of counts are "
        "scatter."
        "\n\n"
        + table(
            [
                "torso, 40x64x64, 60 views",
                "histories/s",
                "scatter/primary at the heart",
                "primary over the projector's",
            ],
            [
                [
                    torso["patient"],
                    f"{torso['histories_per_s']:.2e}",
                    f"{torso['heart_ratio']:.2f}",
                    f"{torso['primary_over_system']:.3f}",
                ]
                for torso in result["torsos"]
            ],
        )
    )


def scatter(result: Row) -> str:
    """ESSE beside the tracker, in the bins that look through the heart or the cylinder."""
    rows = [
        [
            row["case"],
            row["esse"],
            f"{row['scatter_to_primary_in_region']:.2f}",
            f"{row['esse_over_monte_carlo_in_region']:.3f}",
            " to ".join(f"{view:.2f}" for view in row["of_views_in_region"]),
            percent(row["relative_difference_in_region"]),
            percent(row["monte_carlo_noise_in_region"]),
        ]
        for row in result["results"]
    ]
    head = ["", "ESSE", "scatter/primary", "ESSE/tracker", "of single views", "relative L2", "noise of the tracker"]
    return (
        "## ESSE beside the photon tracker\n\n`benchmarks/scatter.py`, "
        f"{result['results'][0]['histories']:.0e} histories each, 40x64x64 at 6.4 mm, in the bins that look through "
        "the heart or the cylinder.\n\n" + table(head, rows)
    )


def simulated(result: Row) -> str:
    """Seconds of one simulated person, by part and voxel size."""
    sizes = result["seconds"]
    parts = list(next(iter(sizes.values())))
    rows = [[part.strip(), *(seconds(sizes[size][part]["cpu_s"]) for size in sizes)] for part in parts]
    return (
        f"## A simulated person\n\n`benchmarks/simulate.py`, CPU seconds, threads: {result['threads']}; a cohort is "
        "made by one process for each core.\n\n" + table(["", *(f"{size}x{size}" for size in sizes)], rows)
    )


def correct(result: Row) -> str:
    """Seconds of a whole study by steps, samples and threads."""
    machine = result["machine"]

    def taken(row: Row) -> str:
        return f"not run, about {row['expected_seconds']:.0f} s" if row["seconds"] is None else seconds(row["seconds"])

    counts = sorted({row["threads"] for row in result["rows"]})
    cells: dict[tuple[str, int, int], dict[int, str]] = {}
    for row in result["rows"]:
        cells.setdefault((row["method"], row["steps"], row["samples"]), {})[row["threads"]] = taken(row)
    lines = [[*map(str, key), *(by.get(count, "") for count in counts)] for key, by in cells.items()]
    head = ["method", "steps", "samples", *(f"threads: {count}" for count in counts)]
    return (
        f"## Correcting a study\n\n`benchmarks/correct.py`, all {result['slices']} slices of a study, weights loaded "
        f"beforehand, {machine['processor']} with {machine['cores']} cores at a load of {machine['load_at_start']:g}. "
        f"Finding the heart takes {seconds(result['find_heart_seconds'])} more. The bar is 5 s on two cores.\n\n"
        + table(head, lines)
    )


def away(result: Row, title: str = "Away from home") -> str:
    """Errors away from home over those at home, by condition and method."""
    rows = []
    for condition, told in result["conditions"].items():
        for method, figures in told["methods"].items():
            cells = [f"{row['mean']:.3g} ({span(row)})" if row["n"] else "" for row in figures.values()]
            counts = {row["n"] for row in figures.values()}
            rows.append([condition, method, *map(str, counts), str(len(told["no heart found"])), *cells])
    figures = next(iter(next(iter(result["conditions"].values()))["methods"].values()))
    head = ["condition", "method", "n", "no heart found", *(f"{name}, % (over home)" for name in figures)]
    return f"## {title}\n\n`benchmarks/generalise.py`; n counts persons, or hearts.\n\n" + table(head, rows)


def span(row: Row) -> str:
    """A ratio and its interval, where there is one."""
    if "ratio" not in row:
        return "no ratio"
    low, high = row["ratio interval"]
    return f"{row['ratio']:.2f}, {low:.2f} to {high:.2f}"


def shifts(result: Row) -> str:
    """The out-of-domain score on listed shifts."""
    head = ["shift", "n", "AUROC", "beyond training's 95 %", "refused"]
    rows = [
        [name, str(row["n"]), f"{row['auroc']:.3f}", percent(row["beyond 95 % quantile"]), percent(row["refused"])]
        for name, row in result["shifts"].items()
    ]
    about = result["about"]
    told = (
        f"`benchmarks/out_of_domain.py`; {about['train scans']} training scans, {about['validation scans']} usual ones."
    )
    return f"## Out of domain\n\n{told}\n\n" + table(head, rows)


def other(stem: str, result: Row | list[Row]) -> str:
    """Any other benchmark: its rows as they are."""
    rows = result if isinstance(result, list) else [result]
    plain = [{key: value for key, value in row.items() if not isinstance(value, dict | list)} for row in rows]
    head = list(dict.fromkeys(key for row in plain for key in row))
    return f"## {TITLES.get(stem, stem)}\n\n" + table(
        head, [[number(row.get(key, "")) for key in head] for row in plain]
    )


SECTIONS: dict[str, Callable[[Any], str]] = {
    "beside": beside,
    "cost": cost,
    "gpu": gpu,
    "photons": photons,
    "scatter": scatter,
    "simulate": simulated,
    "correct": correct,
    "generalise": away,
    "generalise_300": lambda result: away(result, "Away from home, 300 s of training"),
    "out_of_domain": shifts,
}


TITLES = {
    "intervals_pet": "CPDM's intervals from CT, in SUV: `benchmarks/intervals.py COHORT --method cpdm_pet --samples 4 "
    "--truth pet_clean`",
    "synthesize": "Synthesizing a PET from a CT of 250 slices of 256x256: `benchmarks/synthesize.py`",
    "low_dose_steps": "DiffSPECT-3D by steps: `benchmarks/low_dose.py steps`, one thread, MLEM not counted",
    "low_dose_ct_free": "DiffSPECT-3D without CT: `benchmarks/low_dose.py ct-free`",
    "low_dose_camera": "DiffSPECT-3D on parallel holes, not retrained: `benchmarks/low_dose.py camera`",
    "low_dose_intervals": "DiffSPECT-3D's intervals, 4 samples: `benchmarks/low_dose.py intervals`",
}


def on(machine: Row) -> str:
    return f"{machine['processor']}, threads: {machine['threads']}, torch {machine['torch']}"


def seconds(value: float) -> str:
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"


def percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def met(yes: bool) -> str:
    return "met" if yes else "**not met**"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "performance.md")
    given = parser.parse_args()
    given.out.write_text(page(given.results))
    print(given.out)


if __name__ == "__main__":
    main()
