"""Which commands there are: python -m study"""

COMMANDS = """\
python -m study.sweep +experiment=n_vs_p       a grid or a search of cells, its answers, its page
python -m study.trial model.width=32           one cell, no sweep
python -m study.status outputs/n_vs_p          how far a sweep is
python -m study.report outputs/n_vs_p          tables, answers and page anew from the cells
Each takes --help."""

if __name__ == "__main__":
    print(COMMANDS)
