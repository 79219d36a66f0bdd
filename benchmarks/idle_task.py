"""A Hydra application with `study`'s config tree, whose task does nothing.

    python benchmarks/idle_task.py hydra/sweeper=basic hydra/launcher=basic 'seed=range(9)' study=x

What `sweep_overhead.py` runs for Hydra's own sweeper.
"""

import hydra

from study.config import hydra as config_tree

config_tree.register()


@hydra.main(version_base="1.3", config_path=str(config_tree.CONF), config_name=config_tree.ROOT)
def task(config):
    pass


if __name__ == "__main__":
    task()
