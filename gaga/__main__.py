"""`python -m gaga` is `gaga`."""

import sys

from gaga.cli.main import main

sys.exit(main())
