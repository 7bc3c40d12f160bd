"""What can go wrong with certificates.

CertsError       it cannot be done; the message says why and what to do
├── NoAuthority  there is none in this folder
└── Refused      whoever asks may not have it
"""


class CertsError(Exception):
    """The message says what was found, what was expected and what to do."""


class NoAuthority(CertsError):
    pass


class Refused(CertsError):
    """Told to the one who asked: it names nothing that they do not know."""
