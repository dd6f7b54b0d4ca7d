"""`python -m byway` is the `byway` command."""

import sys

from byway.cli import main

sys.exit(main())
