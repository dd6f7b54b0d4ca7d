"""Byway beside its peers: the same load through each, in one run, and the ratios between them.

In comes a choice of sections, programs and tests; out go raw results and a report. `site` is the
ground (two namespaces), `generator` the load, `programs` who is measured, `sections` what by,
`session` the run itself, `figures` the arithmetic, `aims` what we want, `report` the tables.
"""
