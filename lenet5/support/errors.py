"""The exceptions for what a user can fix."""


class UserError(Exception):
    """A mistake that the user can fix. The message states what is wrong, where, and what to do.

    Programs print the message and exit with status 1, without a traceback (see lenet5.support.process).
    """


class DivergenceError(UserError):
    """The loss of a run became huge or NaN: an outcome of its settings and seed, unlike every other mistake."""
