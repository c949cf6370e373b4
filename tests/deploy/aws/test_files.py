"""Rules of ours for the files of deploy/aws themselves."""

import pytest

from tests.support.cloudformation import FILES, FOLDER, load, parameters_of
from tests.support.deployment import COPIES


@pytest.mark.parametrize("copy_name", COPIES)
def test_a_parameter_file_says_all_that_has_no_default_and_nothing_else(copy_name):
    """CloudFormation refuses both, after minutes of uploads."""
    parameters = load("stack.yaml")["Parameters"]
    given = parameters_of(copy_name)
    assert given.keys() <= parameters.keys()
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= given.keys()


def test_copies_beside_each_other_share_no_name_and_no_network():
    """Production and staging may stand in one account, and be joined with another region."""
    texts = {name: parameters_of(name) for name in COPIES}
    assert texts["production"]["Name"] != texts["staging"]["Name"]
    assert len({given["Cidr"] for given in texts.values()}) == len(texts)


def test_a_template_is_small_enough_and_says_what_it_is():
    """The limit is that of templates which need no bucket."""
    for file in FILES:
        assert (FOLDER / file).stat().st_size <= 51_200, file  # what AWS takes without a bucket
        assert load(file)["Description"], file
