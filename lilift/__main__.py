"""`python -m lilift`, the same as the command `lilift`."""

import sys

from lilift.cli.app import main

sys.exit(main())
