"""Networks that MONAI does not have; no task, none of ours."""
