"""What may be claimed of scores, in numbers: paired differences, verdicts, ranks, reproduced or not."""
