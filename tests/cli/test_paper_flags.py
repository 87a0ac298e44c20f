"""Options of the published code name their counterparts here, which exist."""

import re

import pytest

from gaga.cli import paper_flags
from tests.cli.test_help import leaves

LEAVES = dict(leaves())
CASES = [(command, flag) for command, flags in paper_flags._OF_COMMAND.items() for flag in flags]


@pytest.mark.parametrize(("command", "flag"), CASES)
def test_what_it_is_called_here_exists(command, flag):
    there = {spelling for parameter in LEAVES[command].params for spelling in parameter.opts}
    there |= {spelling for parameter in LEAVES[command].params for spelling in parameter.secondary_opts}
    here = paper_flags.called_here(command, flag)
    named = set(re.findall(r"--[a-z-]+", here)) - {"--nproc-per-node"}
    assert named <= there
    assert named or "not needed" in here or "gaga" in here


@pytest.mark.parametrize("words", ["train --n_epochs 3", "sample --GA_timestep=550", "sample --shortcut Gaussian"])
def test_a_published_option_is_answered_by_its_name_here(gaga, words):
    ran = gaga(*words.split())
    assert ran.code == 2
    assert "here it is --" in ran.err


def test_an_option_of_nobody_is_unknown_as_before(gaga):
    assert "No such option: --foo" in gaga("train", "--foo").err


def test_h_is_help(gaga):
    assert gaga("train", "-h").out == gaga("train", "--help").out
    assert gaga("-h").out == gaga("--help").out
