"""Running many blocks: plan, claims, worker, ledger, monitor, and the head that starts them.

`plan` turns a config and its grid into checked cells; `folder` knows what lies where in a study;
`head` starts workers through a launcher; a `worker` claims, trains and commits blocks; `ledger`
tells Optuna; `monitor` says how far it is, from the folder alone.
"""
