"""The one error of backup and restore."""


class BackupError(Exception):
    """It was not done, and nothing half done was left; the message says why and what to do."""
