from study.analysis.design import COUNTED, SIZES, TUNED, counted, curves_of, tuned_keys  # noqa: F401
