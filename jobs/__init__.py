"""Who calls whom: the command line and one page per job."""
