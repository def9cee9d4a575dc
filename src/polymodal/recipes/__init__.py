"""Application recipes: one folder an application, all of them files of data.

A recipe is a question that people ask of their tables, with what this package says to it: `recipe.yaml` (what is asked
and of which data, how rows are split and why, and how a small table of the same form is made up), `schema.yaml`,
`config.yaml` (options of the command), `figures.yaml` (what to expect, on real data and on made-up ones), `README.md`.
A new application is a folder, and no code. They are no recipes of `prepare`, which are lists of steps.
"""
