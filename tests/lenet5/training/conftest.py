"""The data of the runs in these tests."""

import pytest

from lenet5 import Data
from tests.lenet5.training.small_run import small_data


@pytest.fixture(scope="session")
def data() -> Data:
    """Three small splits. Shared between tests: do not change them."""
    return small_data()
