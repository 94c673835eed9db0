"""`python -m cloudaccel.cli`."""

import sys

from cloudaccel.cli import main

sys.exit(main())
