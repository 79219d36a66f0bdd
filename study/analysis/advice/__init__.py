"""Which model, of what size, by which optimiser: from the designed study `advise`, by regression.

`table` reads the study, `forecast` predicts with intervals that hold on systems left out, `choice`
recommends, `checks` measures how far both can be trusted.
"""
