"""The exception tree is the one drawn at its top, and every error knows its exit code."""

import re

from cd4ml import errors
from cd4ml.errors import Cd4mlError, nearest


def test_every_error_of_the_module_is_drawn_in_the_tree():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__)) | {"Cd4mlError"}
    real = {name for name in errors.__all__ if name != "nearest"}
    assert drawn == real


def test_exit_codes_are_those_of_the_command_line_contract():
    own = [cls for cls in Cd4mlError.__subclasses__() if cls.__module__ == errors.__name__]
    codes = {cls.__name__: cls.exit_code for cls in own}
    assert codes == {
        "UsageError": 2,
        "GateRejected": 3,
        "DataError": 4,
        "RolledBack": 5,
        "ServiceError": 6,
        "TimedOut": 124,
    }


def test_nearest_suggests_a_like_word_and_nothing_otherwise():
    assert nearest("lgas", ["lags", "windows"]) == "; did you mean 'lags'?"
    assert nearest("zebra", ["lags", "windows"]) == ""
