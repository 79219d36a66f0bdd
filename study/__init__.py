"""How many points does a Lagrangian neural network need, and what makes its trajectory wrong?

The folder listing is the map: `core/` is physics and learning, `config/` what a user may say,
`tables/` the tables, `block/` trains one block, `sweeping/` runs many, `analysis/` turns tables
into answers and figures, `page/` shows them. The modules beside these folders are the commands
and `results`, the public reader.
"""

__version__ = "0.1.0"
