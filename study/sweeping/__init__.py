"""Running many blocks: plan, orders, workers, searches, ledger, monitor, and the head above them.

`plan` turns a config and its grid into checked cells, `orders` writes them down, and `head` has
`local` or `slurm` start workers. A `worker` claims, trains and commits blocks of the `folder`; its
`searcher` asks a `search` for trials in a `space`. `ledger` tells Optuna's `storage`, and `monitor`
says how far a study is, from the folder alone.
"""
