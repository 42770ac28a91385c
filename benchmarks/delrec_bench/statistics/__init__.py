"""What may be said of scores: paired differences, pooling, verdicts, rank groups, and whether a page is reproduced.

Nothing here knows a record or a page: scores come in as numbers, sentences go out.
"""
