"""The harness: every policy fitted on one side of a table, scored on the other, and told in words."""
