"""The model families, a package each; see :mod:`infwidth.models.contract` for what they share."""
