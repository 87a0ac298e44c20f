"""What tests of evaluation share."""

from tests.standins import posebusters as posebusters
from tests.standins import xtb as xtb
