"""The command line as `python -m seeder`."""

from seeder.cli import main

main()
