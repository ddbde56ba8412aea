"""The tasks, a package each; see :mod:`infwidth.tasks.contract` for what they share."""
