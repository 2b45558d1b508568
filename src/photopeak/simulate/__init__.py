"""Patients who do not exist: anatomy, tracer, population, acquisition, cohort."""
