"""The errors a user can cause. Each message is one sentence: what is wrong, where, and what to do."""


class InfwidthError(Exception):
    """Base of every error that the commands print as a sentence instead of a traceback."""


class ConfigError(InfwidthError):
    """A config key has an unknown name, a value of the wrong type or range, or does not fit another key."""


class DataError(InfwidthError):
    """A dataset is missing, damaged, or too small for what was asked of it."""


class CheckpointError(InfwidthError):
    """A checkpoint is torn, belongs to another run, or has no room on the disk."""


class OutputError(InfwidthError):
    """The output directory cannot be written."""


class RankError(InfwidthError):
    """A process of a run that several carry out together is missing, gone, or at odds with the others."""
