"""What a function sees of ``odps`` on a worker of the service: decorator and base classes."""
