"""`python -m delrec_bench.app`: the command line without an installed script."""

import sys

from delrec_bench.app import main

sys.exit(main())
