"""The table of docs/policy_table.md: what was held against what, how far it is, and how long a step takes."""
