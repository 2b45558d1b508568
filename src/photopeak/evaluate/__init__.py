"""What the results are worth: benchmark, statistics over patients, report."""
