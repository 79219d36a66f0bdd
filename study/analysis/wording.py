from study.analysis.words import *  # noqa: F403
