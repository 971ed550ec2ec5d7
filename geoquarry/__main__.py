"""`python -m geoquarry` is the command line."""

from geoquarry.jobs.entry import main

if __name__ == "__main__":
    raise SystemExit(main())
