"""Tables in; answers, figures and the page out. Reads no log, no weight and no torch."""
