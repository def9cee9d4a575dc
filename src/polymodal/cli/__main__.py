"""`python -m polymodal.cli`."""

from polymodal.cli import main

main()
