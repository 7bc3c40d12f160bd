"""What can go wrong in the agent as a whole; what goes wrong with one reader is in readers/reader.py.

AgentError
├── ConfigError      the configuration cannot be used
├── EnrolmentError   the node gets no certificate now; what it had is as it was
├── FencesError      the fences on disk cannot be read or written now
│   └── FencesDamaged    their file is not what was written; it has to be set aside
├── QuiesceError     what is said of a quiesce cannot be read or written
└── SpoolError       the spool cannot do it now; nothing of the commit is there
    ├── SpoolDamaged     its file is not what was written; it has to be set aside
    ├── SpoolNewer       a newer agent wrote its file; it has to be set aside, whole
    └── SpoolBusy        another agent uses it
"""


class AgentError(Exception):
    """The message says what was found, what was expected and what to do."""


class ConfigError(AgentError):
    """The configuration cannot be used."""


class EnrolmentError(AgentError):
    """The node gets no certificate now; what it had is as it was."""


class FencesError(AgentError):
    """The fences on disk cannot be read or written now; what was kept is as it was."""


class FencesDamaged(FencesError):
    """The fences' file is not what was written."""


class QuiesceError(AgentError):
    """What is said of a quiesce in the run folder cannot be read or written."""


class SpoolError(AgentError):
    """The spool could not do it; nothing of the commit is there, and it may be tried again."""


class SpoolDamaged(SpoolError):
    """The spool's file is not what was written."""


class SpoolNewer(SpoolError):
    """The spool's file was written by a newer agent; nothing of it was touched."""


class SpoolBusy(SpoolError):
    """Another agent uses the spool's folder."""
