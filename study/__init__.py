"""How many points does a Lagrangian neural network need, and what makes its trajectory wrong?

The folder listing is the map: `core/` is physics and learning, `config.py` the schema of
`conf/`, `trial.py` trains one block, `sweeping/` runs many, `results.py` is the table they make,
`analysis/` turns tables into answers and a page. `sweep`, `status` and `report` are the commands.
"""
