"""The one exception for what a user can mend."""


class UserError(SystemExit):
    """Says in a sentence what is wrong, where, and what to do.

    Uncaught, Python prints the sentence to standard error and exits with status 1, without a traceback.
    """


class DivergenceError(UserError):
    """A training's loss is not finite: an outcome of its settings and seed, unlike every other mistake."""
