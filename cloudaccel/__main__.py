"""`python -m cloudaccel`."""

import sys

from cloudaccel.cli import main

sys.exit(main())
