"""What can go wrong in the pantry. Every message is a sentence fit to be shown to the caller."""


class PantryError(Exception):
    """Base of all errors a store raises on purpose."""


class NotFoundError(PantryError):
    """There is no record with the given id."""


class RefusedError(PantryError):
    """The request itself cannot be done as asked; asking again unchanged will not help."""


class MisconfiguredError(PantryError):
    """The owner has to change a setting, a file or something in Notion first."""


class UnavailableError(PantryError):
    """The storage cannot answer just now.

    Args:
        message: one or two sentences in words.
        retry_after: whole seconds after which it makes sense to ask again, if known.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConflictError(UnavailableError):
    """Somebody else changed the record at the same moment; nothing was written."""
